"""Rows survive every revision, up and down, unless its docstring says what does not.

``Downgrade: loses trades.note, orders.`` in the docstring of a revision says what a downgrade
followed by an upgrade does not bring back; ``Upgrade: loses ...`` what an upgrade followed by a
downgrade does not; ``Upgrade: changes ...`` which columns have other values after the upgrade.
The names are tables and columns, and they are neither more nor fewer than what is found here.
"""

import re
from typing import Any

import psycopg
from alembic.script import Script
from psycopg import sql
from psycopg.rows import dict_row

from tests.rows import ROWS
from tests.support import databases, history
from tests.support.history import Databases, each_revision, path
from tests.support.inserting import insert

COLUMNS = """
SELECT c.relname AS table, a.attname AS column, coalesce(a.attnum = ANY (k.indkey), false) AS key
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'alembic_version'
    AND c.relnamespace = 'public'::regnamespace AND a.attgenerated = ''
ORDER BY c.relname, a.attnum
"""

Rows = dict[tuple[Any, ...], dict[str, Any]]
"""Rows of a table by primary key."""


def columns(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, dict[str, bool]]:
    """Read the columns of all tables, and whether each is a part of the primary key."""
    found: dict[str, dict[str, bool]] = {}
    for row in connection.execute(COLUMNS):
        found.setdefault(row["table"], {})[row["column"]] = row["key"]
    return found


def insert_all(url: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        found = columns(connection)
        missing = sorted(found.keys() - ROWS.keys())
        assert not missing, f"tests/rows.py has no rows of {', '.join(missing)}. Add some."
        for table in [table for table in ROWS if table in found]:
            for row in ROWS[table]:
                known = {name: value for name, value in row.items() if name in found[table]}
                insert(connection, table, known)


def content(url: str) -> dict[str, Rows]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return {
            table: {
                tuple(row[column] for column, key in found.items() if key): row
                for row in connection.execute(sql.SQL("TABLE {}").format(sql.Identifier(table)))
            }
            for table, found in columns(connection).items()
        }


def lost(before: dict[str, Rows], after: dict[str, Rows]) -> set[str]:
    """Name the tables with other rows or none, and the columns with other values or none."""
    names = set()
    for table, rows in before.items():
        if after.get(table, {}).keys() != rows.keys():
            names.add(table)
            continue
        for key, row in rows.items():
            now = after[table][key]
            names |= {f"{table}.{name}" for name in row if now.get(name, ...) != row[name]}
    return names


def shared(rows: dict[str, Rows], other: dict[str, Rows]) -> dict[str, Rows]:
    """Keep the tables and columns that the other one has, too."""

    def names(table: str) -> set[str]:
        return set().union(*other[table].values())

    return {
        table: {
            key: {name: value for name, value in row.items() if name in names(table)}
            for key, row in here.items()
        }
        for table, here in rows.items()
        if table in other
    }


def declared(revision: Script, what: str) -> set[str]:
    """Read the names after, for instance, ``Downgrade: loses``, up to a full stop."""
    found = re.search(
        rf"^{what} (?P<names>[\w.,\s]+?)(?:\.\s|\.?\Z)", revision.longdoc, re.MULTILINE
    )
    return set(re.split(r",\s*", found["names"].strip())) if found else set()


@each_revision
def test_upgrade_and_back(revision: Script, database_at: Databases) -> None:
    url = database_at.at(history.before(revision))
    insert_all(url)
    before = content(url)
    databases.migrate(url, revision.revision)
    after = content(url)
    changed = lost(shared(before, after), after)
    assert changed == declared(revision, "Upgrade: changes"), path(revision)
    databases.migrate(url, "-1")
    assert lost(before, content(url)) == declared(revision, "Upgrade: loses"), path(revision)


@each_revision
def test_downgrade_and_back(revision: Script, database_at: Databases) -> None:
    url = database_at.at(revision.revision)
    insert_all(url)
    before = content(url)
    databases.migrate(url, "-1")
    databases.migrate(url, revision.revision)
    assert lost(before, content(url)) == declared(revision, "Downgrade: loses"), path(revision)


def test_rows_are_representative(database: str) -> None:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        found = columns(connection)
    poor = [
        f"{table}.{column}"
        for table, names in found.items()
        for column in names
        if len({row.get(column) for row in ROWS.get(table, [])}) < 2
    ]
    assert not poor, f"tests/rows.py needs two different values of {', '.join(poor)}"


def test_what_is_lost() -> None:
    before: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "a", "note": None}, (2,): {"id": 2, "email": "b"}},
        "trades": {(1,): {"id": 1}},
        "bots": {(1,): {"id": 1}},
    }
    after: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "A"}, (2,): {"id": 2, "email": "b"}},
        "trades": {},
    }
    assert lost(before, after) == {"users.email", "users.note", "trades", "bots"}
    assert lost(shared(before, after), after) == {"users.email", "trades"}
    assert lost(before, before) == set()
