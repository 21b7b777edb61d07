"""The tables of a database as the code of its time knows them, with rows for its statements."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnClause,
    Connection,
    Insert,
    MetaData,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

Row = Mapping[str, Any]
Texts = Mapping[str, str | None]
"""A row as text."""

# What becomes of a row when its parent is deleted.
FOLLOWING = {"CASCADE", "SET NULL", "SET DEFAULT"}
TYPES = """
SELECT attname, format_type(atttypid, atttypmod), greatest(atttypmod - 4, 0) FROM pg_attribute
WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
"""
SEQUENCE = "SELECT pg_get_serial_sequence(:table, :column)"
LONG = 8_000
"""Characters of a long text in a column without a limit."""


@dataclass
class OldTable:
    """A table before a revision."""

    table: Table
    types: Mapping[str, str]
    """Type of each column, in SQL."""
    values: Mapping[str, list[str | None]]
    """Values that code may write to each column, as text."""
    base: Row
    """A row that is there."""
    base_texts: Texts
    spare: Row
    """A row that can be inserted. The same one, where there is no other."""
    spare_texts: Texts
    all_tables: dict[str, "OldTable"] = field(repr=False)

    @property
    def name(self) -> str:
        """The name, as SQL has it."""
        return self.table.name

    @property
    def columns(self) -> list[Column[Any]]:
        """The columns that code can write."""
        return [
            column
            for column in self.table.columns
            if not column.computed and not (column.identity and column.identity.always)
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

    def is_row(self, row: Row) -> ColumnElement[bool]:
        """Return the condition that a row fulfils."""
        return and_(*(column.is_not_distinct_from(row[column.name]) for column in self.key))

    def insert(self, row: Row) -> Insert:
        """Return the statement that inserts a row, and that asks for nothing."""
        return insert(self.table).values({c.name: row[c.name] for c in self.columns}).inline()

    def parents(self) -> Iterator["OldTable"]:
        """Go through the tables whose spare rows the spare row refers to, the first ones first."""
        for constraint in self.table.foreign_key_constraints:
            parent = self.all_tables[constraint.referred_table.name]
            refers = all(
                self.spare[pair.parent.name] == parent.spare[pair.column.name]
                for pair in constraint.elements
            )
            if parent is not self and parent.spare is not parent.base and refers:
                yield from parent.parents()
                yield parent

    def family(self, row: Row) -> Iterator[tuple["OldTable", Row]]:
        """Go through rows that are deleted or changed together with a row, parents first."""
        for child in self.all_tables.values():
            for constraint in child.table.foreign_key_constraints:
                if (
                    constraint.referred_table is self.table
                    and child is not self
                    and str(constraint.ondelete).upper() in FOLLOWING
                ):
                    pairs = constraint.elements
                    its = {pair.parent.name: row[pair.column.name] for pair in pairs}
                    yield child, {**child.spare, **its}
                    yield from child.family({**child.spare, **its})


def read_tables(connection: Connection) -> dict[str, OldTable]:
    """Read the tables that have rows, each after those that it refers to.

    Takes one row out of each, which can then be inserted.
    """
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name != "alembic_version")
    found: dict[str, OldTable] = {}
    for table in metadata.sorted_tables:
        rows = _rows(connection, table, 1)
        if rows:
            types, values = _types_and_values(connection, table)
            found[table.name] = OldTable(table, types, values, *rows[0], *rows[0], found)
    for old in reversed(found.values()):
        _take_out_spare(connection, old)
    for old in found.values():
        for column in old.key:
            names = {"table": f'"{old.name}"', "column": column.name}
            sequence = connection.scalar(text(SEQUENCE), names)
            if sequence is not None:
                numbered = func.setval(sequence, func.greatest(func.max(column), 1))
                connection.execute(select(numbered).select_from(old.table))
    return found


def _types_and_values(
    connection: Connection, table: Table
) -> tuple[dict[str, str], dict[str, list[str | None]]]:
    types, values = {}, {}
    for name, kind, length in connection.execute(text(TYPES), {"table": f'"{table.name}"'}):
        types[name] = kind
        distinct = select(_as_text(name)).select_from(table).distinct()
        values[name] = list(connection.scalars(distinct))
        if kind.startswith(("text", "character varying")):
            values[name].append(incompressible(length or LONG))
    return types, values


def _rows(connection: Connection, table: Table, number: int) -> list[tuple[Row, Texts]]:
    """Return the first rows that were inserted."""
    names = [column.name for column in table.columns]
    texts = [_as_text(name).label(f"{name} as text") for name in names]
    rows = connection.execute(
        select(*table.columns, *texts).order_by(literal_column("ctid")).limit(number)
    ).mappings()
    return [
        ({name: row[name] for name in names}, {name: row[f"{name} as text"] for name in names})
        for row in rows
    ]


def _take_out_spare(connection: Connection, old: OldTable) -> None:
    """Delete a row that no other refers to, if there is one beside the first."""
    for row, texts in _rows(connection, old.table, 6)[1:]:
        try:
            with connection.begin_nested():
                connection.execute(delete(old.table).where(old.is_row(row)))
        except IntegrityError:
            continue
        old.spare, old.spare_texts = row, texts
        return


def _as_text(column: str) -> ColumnClause[str | None]:
    return literal_column('"' + column.replace('"', '""') + '"::text', String)


def incompressible(length: int) -> str:
    """Return a text that takes all of its length in an index, the same at every run."""
    parts = (
        hashlib.sha256(str(number).encode()).hexdigest() for number in range(length // 64 + 1)
    )
    return "".join(parts)[:length]
