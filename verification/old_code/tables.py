"""The tables that the code of a revision uses, with rows for its statements."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import (
    Column,
    Connection,
    Insert,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    inspect,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from trading_bot_schema.docstrings import DocstringError
from verification import rows as fill

POSTGRESQL: Dialect = registry.load("postgresql")()
sql_name = POSTGRESQL.identifier_preparer.format_table  # such as lending."user"

Row = Mapping[str, Any]
Texts = Mapping[str, str | None]
"""A row as text."""
Key = tuple[Any, ...]
Refused = dict[str, dict[Key, str]]
"""Rows that a revision refuses, by table and key, and the SQLSTATE of the error."""

# ON DELETE actions that delete or change the referencing row.
DEPENDENT_ACTIONS = {"CASCADE", "SET NULL", "SET DEFAULT"}
TYPES = """
SELECT attname, format_type(atttypid, atttypmod), greatest(atttypmod - 4, 0) FROM pg_attribute
WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
"""
SEQUENCE = "SELECT pg_get_serial_sequence(:table, :column)"
LONG_TEXT = 8_000
"""Characters of a long text in a column without a limit."""


@dataclass(eq=False)
class OldTable:
    """A table before a revision.

    Attributes:
        types: Type of each column, in SQL.
        values: Values that code may write to each column, as text.
        rows: All rows, also as text, in the order in which they were inserted.
        base: An existing row.
        spare: A row that can be inserted; the base itself if there is no other.
        unwritten: Columns that code does not write yet.
        has_base: Whether the base still exists: the revision may refuse all rows.
    """

    table: Table
    types: Mapping[str, str]
    values: Mapping[str, list[str | None]]
    rows: list[tuple[Row, Texts]]
    base: Row
    base_texts: Texts
    spare: Row
    spare_texts: Texts
    all_tables: dict[str, "OldTable"] = field(repr=False)
    unwritten: frozenset[str] = frozenset()
    has_base: bool = True

    @classmethod
    def without_rows(cls, table: Table, base: Row) -> "OldTable":
        """Return a view, which code only reads."""
        return cls(table, {}, {}, [], base, {}, base, {}, {})

    @property
    def name(self) -> str:
        """The name in SQL."""
        return sql_name(self.table)

    @property
    def columns(self) -> list[Column[Any]]:
        """The columns that code can write."""
        return [
            column
            for column in self.table.columns
            if column.name not in self.unwritten
            and not column.computed
            and not (column.identity and column.identity.always)
        ]

    @property
    def required(self) -> list[Column[Any]]:
        """The columns that code has to write."""
        return [
            column
            for column in self.columns
            if not (column.nullable or column.server_default or column.identity)
        ]

    @property
    def key(self) -> list[Column[Any]]:
        """The primary key, or all columns."""
        return list(self.table.primary_key) or list(self.table.columns)

    @property
    def is_usable(self) -> bool:
        """Whether it and all tables that it references have a row."""
        keys = self.table.foreign_key_constraints
        parents = (self.all_tables[sql_name(key.referred_table)] for key in keys)
        return self.has_base and all(parent.has_base for parent in parents)

    def key_of(self, row: Texts) -> Key:
        """Return the values of the key."""
        return tuple(row[column.name] for column in self.key)

    def is_row(self, row: Row) -> ColumnElement[bool]:
        """Return the condition that identifies a row."""
        return and_(*(column.is_not_distinct_from(row[column.name]) for column in self.key))

    def insert(self, row: Row) -> Insert:
        """Return the statement that inserts a row, without RETURNING."""
        return insert(self.table).values({c.name: row[c.name] for c in self.columns}).inline()

    def parents(self, below: tuple["OldTable", ...] = ()) -> Iterator["OldTable"]:
        """Yield the tables whose spare rows the spare row references, parents first."""
        for constraint in self.table.foreign_key_constraints:
            parent = self.all_tables[sql_name(constraint.referred_table)]
            refers = all(
                self.spare[pair.parent.name] == parent.spare[pair.column.name]
                for pair in constraint.elements
            )
            has_spare = parent.spare is not parent.base
            if has_spare and refers and parent not in (self, *below):
                yield from parent.parents((*below, self))
                yield parent

    def dependents(
        self, row: Row, above: tuple["OldTable", ...] = ()
    ) -> Iterator[tuple["OldTable", Row]]:
        """Yield the rows that are deleted or changed together with a row, parents first."""
        for child in self.all_tables.values():
            for constraint in child.table.foreign_key_constraints:
                if (
                    constraint.referred_table is self.table
                    and child not in (self, *above)
                    and str(constraint.ondelete).upper() in DEPENDENT_ACTIONS
                ):
                    pairs = constraint.elements
                    references = {pair.parent.name: row[pair.column.name] for pair in pairs}
                    yield child, {**child.spare, **references}
                    yield from child.dependents({**child.spare, **references}, (*above, self))


def read_tables(
    connection: Connection, refused: Refused, unwritten: frozenset[str] = frozenset()
) -> dict[str, OldTable]:
    """Read the tables that have rows, each after those that it references.

    Empties the columns that code does not write yet, such as ``staff.wage``. Deletes one row of
    each table, the spare, which can then be inserted. Neither the spare nor the base is a refused
    row, if there are others.

    Raises:
        DocstringError: Code has to write one of those columns, or it does not exist.
    """
    # Python has no time after the year 9999, which another time zone could require.
    connection.execute(text("SET LOCAL timezone = 'UTC'"))
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    tables: dict[str, OldTable] = {}
    for table in _reflected(connection):
        new = {c.name for c in table.columns if f"{sql_name(table)}.{c.name}" in unwritten}
        for column in new:
            with suppress(DBAPIError), connection.begin_nested():  # unless a constraint needs it
                connection.execute(update(table).values({column: text("DEFAULT")}))
        rows = _rows(connection, table)
        if rows:
            types, values = _types_and_values(connection, table, [texts for _, texts in rows])
            old = OldTable(table, types, values, rows, *rows[0], *rows[0], tables, frozenset(new))
            accepted = [row for row in rows if old.key_of(row[1]) not in refused.get(old.name, ())]
            old.base, old.base_texts = old.spare, old.spare_texts = (accepted or rows)[0]
            tables[old.name] = old
    optional = {
        f"{old.name}.{column.name}"
        for old in tables.values()
        for column in old.table.columns
        if column.nullable or column.server_default
    }
    if unknown := unwritten - optional:
        raise DocstringError(
            f"Unwritten: {', '.join(sorted(unknown))}: it should name columns that exist before"
            " the revision, and that rows can be inserted without: they are nullable, or have a"
            " default."
        )
    for old in reversed(tables.values()):
        _delete_spare(connection, old, refused.get(old.name, {}))
    for old in tables.values():
        _set_sequences(connection, old)
    return tables


def _reflected(connection: Connection) -> list[Table]:
    """Return the tables, each after those that it references, except in a cycle."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    order = fill.read_tables(driver)
    metadata = MetaData()
    inspector = inspect(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Such as about NOT VALID constraints and cycles.
        for schema in inspector.get_schema_names():
            if schema != "information_schema":
                named = None if schema == inspector.default_schema_name else schema
                metadata.reflect(connection, schema=named)
    tables = {sql_name(table): table for table in metadata.tables.values()}
    return [tables[name] for name in order]


def remove_rows(connection: Connection, tables: Mapping[str, OldTable], refused: Refused) -> None:
    """Delete the rows that a revision refuses."""
    for old in reversed(list(tables.values())):
        keys = refused.get(old.name, {})
        for row, texts in old.rows:
            if old.key_of(texts) in keys:
                _delete(connection, old, row)
        old.has_base = old.key_of(old.base_texts) not in keys


def _types_and_values(
    connection: Connection, table: Table, rows: Sequence[Texts]
) -> tuple[dict[str, str], dict[str, list[str | None]]]:
    types, values = {}, {}
    for name, kind, length in connection.execute(text(TYPES), {"table": sql_name(table)}):
        types[name] = kind
        distinct = dict.fromkeys(row[name] for row in rows)
        if kind.startswith(("text", "character varying")):
            typical = rows[0][name] or ""
            distinct |= dict.fromkeys([typical.swapcase(), f"{typical} "])
            distinct[incompressible(length or LONG_TEXT)] = None
        values[name] = list(distinct)
    return types, values


def _rows(connection: Connection, table: Table) -> list[tuple[Row, Texts]]:
    """Return the rows in the order in which they were inserted."""
    names = [column.name for column in table.columns]
    texts = [literal_column(f"{quoted(name)}::text", String) for name in names]
    rows = connection.execute(select(*table.columns, *texts).order_by(literal_column("ctid")))
    return [
        (
            dict(zip(names, row[: len(names)], strict=True)),
            dict(zip(names, row[len(names) :], strict=True)),
        )
        for row in rows
    ]


def _delete_spare(connection: Connection, old: OldTable, refused: Container[Key]) -> None:
    """Delete a row that no other references, if there is one other than the base."""
    number = Counter(old.key_of(texts) for _, texts in old.rows)  # in a table without a key
    others = [
        row for row in old.rows if row[0] is not old.base and number[old.key_of(row[1])] == 1
    ]
    others.sort(key=lambda row: old.key_of(row[1]) in refused)
    for row, texts in others[:6]:
        with suppress(IntegrityError):
            _delete(connection, old, row)
            old.spare, old.spare_texts = row, texts
            return


def _delete(connection: Connection, old: OldTable, row: Row) -> None:
    """Delete a row, also from a table whose triggers forbid that."""
    with connection.begin_nested():
        connection.execute(text(f"ALTER TABLE {old.name} DISABLE TRIGGER USER"))
        connection.execute(delete(old.table).where(old.is_row(row)))
        connection.execute(text(f"ALTER TABLE {old.name} ENABLE TRIGGER USER"))


def _set_sequences(connection: Connection, old: OldTable) -> None:
    """Set sequences past the existing rows, as if the application had inserted them."""
    for column in old.key:
        names = {"table": old.name, "column": column.name}
        sequence = connection.scalar(text(SEQUENCE), names)
        if sequence is not None:
            numbered = func.setval(sequence, func.greatest(func.max(column), 1))
            connection.execute(select(numbered).select_from(old.table))


def quoted(name: str) -> str:
    """Return a name in SQL, without doubling percent signs as SQLAlchemy does."""
    return '"' + name.replace('"', '""') + '"'


def incompressible(length: int) -> str:
    """Return a text that an index cannot compress, the same at every run."""
    parts = (
        hashlib.sha256(str(number).encode()).hexdigest() for number in range(length // 64 + 1)
    )
    return "".join(parts)[:length]
