"""Reads the rows of databases, and compares them."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestampLoader

from verification.inserting import insert
from verification.project import Project

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
"""Rows of a table by primary key: the names and values of its columns."""


def columns(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, dict[str, bool]]:
    """Read the columns of all tables, and whether each is a part of the primary key."""
    tables: dict[str, dict[str, bool]] = {}
    for row in connection.execute(COLUMNS):
        tables.setdefault(row["table"], {})[row["column"]] = row["key"]
    return tables


def insert_all(url: str, project: Project) -> None:
    """Insert the rows that are written by hand."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        tables = columns(connection)
        missing = ", ".join(sorted(tables.keys() - project.rows.keys()))
        assert not missing, f"{project.rows_file} has no rows of {missing}. Add some."
        for table in [table for table in project.rows if table in tables]:
            for row in project.rows[table]:
                existing = {name: value for name, value in row.items() if name in tables[table]}
                insert(connection, table, existing)


class _AnyTimestamp(TimestampLoader):
    """Returns the text of a time that Python cannot represent, as in the year 10000."""

    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


def content(url: str) -> dict[str, Rows]:
    """Read all rows."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.adapters.register_loader("timestamp", _AnyTimestamp)
        return {
            table: {
                tuple((name, row[name]) for name, is_key in names.items() if is_key): row
                for row in connection.execute(sql.SQL("TABLE {}").format(sql.Identifier(table)))
            }
            for table, names in columns(connection).items()
        }


def lost(before: dict[str, Rows], after: dict[str, Rows]) -> set[str]:
    """Return the tables whose rows, and the columns whose values, differ or are missing."""
    names = set()
    for table, rows in before.items():
        if after.get(table, {}).keys() != rows.keys():
            names.add(table)
            continue
        for key, row in rows.items():
            now = after[table][key]
            names |= {f"{table}.{name}" for name in row if now.get(name, ...) != row[name]}
    return names


def changed_rows(before: dict[str, Rows], after: dict[str, Rows]) -> dict[str, dict[str, Any]]:
    """Return the key of the first row that differs or is missing, by table."""
    return {
        table: dict(key)
        for table, rows in before.items()
        for key in [key for key, row in rows.items() if after.get(table, {}).get(key) != row][:1]
    }


def shared(rows: dict[str, Rows], other: dict[str, Rows]) -> dict[str, Rows]:
    """Return the rows with only the tables and columns that the other database has too."""
    names = {table: set().union(*own.values()) for table, own in other.items()}
    return {
        table: {
            key: {name: value for name, value in row.items() if name in names[table]}
            for key, row in own.items()
        }
        for table, own in rows.items()
        if table in other
    }


def column_names(rows: dict[str, Rows]) -> set[str]:
    """Return the columns, such as ``users.email``, of the tables that have rows."""
    return {
        f"{table}.{name}" for table, own in rows.items() for row in own.values() for name in row
    }
