"""The models match the specification, as the migrated database matches the models."""

import re
from difflib import unified_diff
from typing import Any

from sqlalchemy import Column, Connection, inspect, text
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import RelationshipDirection, RelationshipProperty

from models import Base
from tests import specification
from tests.rows import ROWS

DIALECT: Dialect = registry.load("postgresql")()
SHORT_TYPES = {
    "timestamp with time zone": "timestamptz",
    "character varying": "varchar",
    ", ": ",",
}

NEVER_PERSONAL = r"(small|big)?int(eger)?|numeric.*|boolean|timestamptz"


def short(type_: str) -> str:
    for long, abbreviation in SHORT_TYPES.items():
        type_ = type_.replace(long, abbreviation)
    return type_


def argument(default: Any) -> str:
    """Return a default as text, without the quotes and casts of SQL."""
    return str(default.arg).partition("::")[0].strip("'")


def default_in_model(column: Column[Any]) -> str:
    if column.identity is not None:
        return "identity"
    if column.server_default is None:
        assert column.default is None, f"{column}: default in Python only"
        return ""
    server = argument(column.server_default)
    assert column.default is not None, f"{column}: default in the database only"
    python = argument(column.default)
    assert python.lower() == server, f"{column}: two defaults, {python!r} and {server!r}"
    return server


def key_in_model(column: Column[Any]) -> str:
    if column.primary_key:
        return "primary"
    if column.unique:
        return "unique"
    return "index" if column.index else ""


def test_columns_of_the_models() -> None:
    order = dict.fromkeys([*specification.tables(), *Base.metadata.tables])
    columns = [
        (
            str(column),
            short(column.type.compile(DIALECT).lower()),
            "null" if column.nullable else "",
            default_in_model(column),
            "" if column.onupdate is None else argument(column.onupdate),
            key_in_model(column),
        )
        for name in order
        if name in Base.metadata.tables
        for column in Base.metadata.tables[name].columns
    ]
    specified = [cells[:6] for cells in specification.columns()]
    written, right = ([" | ".join(cells) for cells in table] for table in (specified, columns))
    difference = unified_diff(written, right, "tests/specification.py", "models", n=0, lineterm="")
    assert columns == specified, "\n".join(difference)


def test_columns_that_may_be_personal_are_declared() -> None:
    undeclared = [
        name
        for name, type_, *cells in specification.columns()
        if not re.fullmatch(NEVER_PERSONAL, type_) and cells[4:] not in (["yes"], ["no"])
    ]
    assert not undeclared, (
        f"may {', '.join(undeclared)} hold personal data? Write yes or no in the last cell of"
        " tests/specification.py. What is personal is erased by forget_user()."
    )


def assert_specified(name: str, found: set[str]) -> None:
    specified = {" ".join(row) for row in specification.rows(getattr(specification, name))}
    lines = "\n".join(unified_diff(sorted(specified), sorted(found), name, n=0, lineterm=""))
    assert found == specified, f"correct tests/specification.py:\n{lines}"


def test_foreign_keys_of_the_migrated_database(connection: Connection) -> None:
    foreign_keys = {
        (
            f"{table} ({', '.join(key['constrained_columns'])}) -> {key['referred_table']}"
            f" ({', '.join(key['referred_columns'])})"
            f" on delete {key['options']['ondelete'].lower()}"
        )
        for (_, table), keys in inspect(connection).get_multi_foreign_keys().items()
        for key in keys
    }
    assert_specified("FOREIGN_KEYS", foreign_keys)


def direction(relationship: RelationshipProperty[Any]) -> str:
    if relationship.direction is RelationshipDirection.ONETOMANY:
        return "one-to-many" if relationship.uselist else "one-to-one"
    target_is_unique = {c.name for c in relationship.local_columns} == {
        c.name for c in relationship.parent.primary_key
    }
    return "one-to-one" if target_is_unique else "many-to-one"


def test_relationships() -> None:
    relationships = {
        (
            f"{mapper.class_.__name__}.{relationship.key} {direction(relationship)}"
            f" {relationship.mapper.class_.__name__} back: {relationship.back_populates or '-'}"
        )
        for mapper in Base.registry.mappers
        for relationship in mapper.relationships
    }
    assert_specified("RELATIONSHIPS", relationships)


def test_everything_has_a_comment_in_the_migrated_database(connection: Connection) -> None:
    uncommented = connection.execute(
        text("""
            SELECT c.relname || coalesce('.' || a.attname, '')
            FROM pg_class c
            LEFT JOIN LATERAL (
                SELECT 0 AS attnum, NULL AS attname
                UNION ALL
                SELECT attnum, attname FROM pg_attribute
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                    AND attname <> ALL (:self_explanatory)
            ) a ON true
            WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
                AND c.relname <> 'alembic_version'
                AND col_description(c.oid, a.attnum) IS NULL
                AND NOT (a.attnum = 0 AND obj_description(c.oid) IS NOT NULL)
        """),
        {"self_explanatory": ["bot_config_id", "id", "user_id"]},
    ).scalars()
    assert list(uncommented) == []


def test_binance_order_id_says_how_to_qualify_it() -> None:
    assert "BTCUSDT:28" in (Base.metadata.tables["trades"].c.binance_order_id.comment or "")


def test_rows_have_two_values_of_each_column() -> None:
    uniform = [
        name
        for name, *_ in specification.columns()
        for table, column in [name.split(".")]
        if len({row.get(column) for row in ROWS.get(table, [])}) < 2
    ]
    assert not uniform, f"tests/rows.py needs two different values of {', '.join(uniform)}"
