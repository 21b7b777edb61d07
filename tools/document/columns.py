"""The parts of a column, in the form of PostgreSQL's documentation."""

from sqlalchemy import Column, Table
from sqlalchemy.dialects import registry
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import DDLCompiler

POSTGRESQL: Dialect = registry.load("postgresql")()


def compiler(table: Table) -> DDLCompiler:
    """Return the compiler of SQL for parts of a table."""
    return POSTGRESQL.ddl_compiler(POSTGRESQL, CreateTable(table))


def type_of(column: Column[object]) -> str:
    """Return a column's type, such as ``timestamptz``."""
    name = column.type.compile(POSTGRESQL).lower()
    return {"timestamp with time zone": "timestamptz"}.get(name, name)


def keys_of(column: Column[object]) -> list[str]:
    """Return the keys that a column belongs to: PK, FK, UK."""
    roles = {"PK": column.primary_key, "FK": column.foreign_keys, "UK": column.unique}
    return [name for name, has in roles.items() if has]


def default_of(column: Column[object]) -> str:
    """Return the SQL of a column's default, or an empty string."""
    if column.identity:
        return "identity"
    return compiler(column.table).get_column_default_string(column) or ""
