"""``drift`` reports the same whatever settings the role, the database or the URL have."""

from collections.abc import Callable

import psycopg
from sqlalchemy import make_url

from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.url import parse, rendered
from verification import databases

# What PostgreSQL prints in another form, depending on the settings of the session.
SCHEMA = (
    'CREATE TABLE "order" ("user" integer, at timestamptz CHECK (at > \'2020-01-01 00:00+00\'),'
    " span interval DEFAULT interval '1 day 2 hours', day date DEFAULT date '2020-02-01',"
    " data bytea DEFAULT '\\x61', price money DEFAULT 1234.5::money,"
    " pattern text CHECK (pattern ~ E'\\\\d'), number float8 DEFAULT 0.1)",
    "CREATE TABLE alembic_version (version_num text)",
    "CREATE SCHEMA app",
    "CREATE TABLE app.alembic_version ()",
    "CREATE VIEW late AS SELECT at FROM \"order\" WHERE at > '2020-01-01 00:00+00'",
)
OTHER_VALUES = {
    "DateStyle": "SQL, DMY",
    "TimeZone": "Asia/Tokyo",
    "lc_monetary": "C",
    "extra_float_digits": "-15",
}
# Each setting that a role may have, with a value that it does not have now.
SETTINGS = """
SELECT name, CASE vartype
    WHEN 'bool' THEN CASE setting WHEN 'on' THEN 'off' ELSE 'on' END
    ELSE (SELECT value FROM unnest(enumvals) value WHERE value <> setting LIMIT 1) END
FROM pg_settings
WHERE (vartype = 'bool' OR cardinality(enumvals) > 1) AND context IN ('user', 'superuser')
    AND name NOT LIKE 'debug%' AND name NOT LIKE 'ignore%' AND name NOT LIKE 'transaction%'
"""


def test_settings_of_a_role_and_of_the_url(
    empty_database: str, make_role: Callable[..., str]
) -> None:
    databases.execute(empty_database, *SCHEMA)
    expected = snapshot(empty_database)
    role = make_role()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        settings = dict(connection.execute(SETTINGS).fetchall()) | OTHER_VALUES
        connection.execute(f"ALTER ROLE {role} SUPERUSER".encode())
        for name, value in settings.items():
            connection.execute(f"ALTER ROLE {role} SET {name} = '{value}'".encode())
    url = databases.as_role(empty_database, role)
    changed = {"quote_all_identifiers": "on", "standard_conforming_strings": "off"}
    assert {name: databases.scalar(url, f"SHOW {name}") for name in changed} == changed
    assert snapshot(url) == expected

    options = "-csearch_path=app -ctimezone=Asia/Tokyo -c quote_all_identifiers=on"
    target = parse(empty_database).update_query_dict({"options": options})
    assert (snapshot(rendered(target)), make_url(rendered(target))) == (expected, target)
