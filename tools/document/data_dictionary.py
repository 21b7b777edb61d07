"""The data dictionary: every table with its columns, constraints and indexes."""

from collections.abc import Iterator

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import DDLCompiler

from tools import markdown

POSTGRESQL: Dialect = registry.load("postgresql")()

# The order in which constraints are listed.
KINDS = (PrimaryKeyConstraint, UniqueConstraint, ForeignKeyConstraint, CheckConstraint)


def compiler(table: Table) -> DDLCompiler:
    """Return the compiler of SQL for parts of a table."""
    return POSTGRESQL.ddl_compiler(POSTGRESQL, CreateTable(table))


def rules(table: Table) -> Iterator[tuple[str, str]]:
    """Yield the name and the SQL of each of a table's constraints and indexes."""
    sql = compiler(table)
    for kind in KINDS:
        constraints = (each for each in table.constraints if isinstance(each, kind))
        for text in sorted(map(sql.process, constraints)):
            _, name, rule = text.split(maxsplit=2)
            yield name, rule
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield str(index.name), str(CreateIndex(index).compile(dialect=POSTGRESQL))


def dictionary(metadata: MetaData, heading: str) -> Iterator[str]:
    """Yield the lines of the page."""
    yield from ("# Data dictionary", "", f"<!-- {heading} -->")
    for table in metadata.sorted_tables:
        yield f"\n## {table.name}\n\n{table.comment}\n"
        yield from markdown.table(
            "column | type | null | default | key | meaning and unit",
            map(_cells, table.columns),
        )
        yield ""
        yield from markdown.table(
            "constraint or index | rule",
            ([f"`{name}`", f"`{rule}`"] for name, rule in rules(table)),
        )


def _cells(column: Column[object]) -> Iterator[str]:
    default = compiler(column.table).get_column_default_string(column)
    if column.identity:
        default = "identity"
    keys = {"PK": column.primary_key, "FK": column.foreign_keys, "UK": column.unique}
    parents = sorted({key.column.table.name for key in column.foreign_keys})
    yield f"`{column.name}`"
    yield (
        column.type.compile(POSTGRESQL).lower().replace("timestamp with time zone", "timestamptz")
    )
    yield "null" if column.nullable else ""
    yield f"`{default}`" if default else ""
    yield ", ".join(name for name, is_part in keys.items() if is_part)
    yield column.comment or ", ".join(f"Refers to {name}." for name in parents)
