"""Reads the rows of databases, and compares them."""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from verification.databases import insert
from verification.project import Project
from verification.rows import RowsError
from verification.tables import TABLES

COLUMNS = f"""
SELECT t.name, array_agg(a.attname::text ORDER BY a.attnum) AS columns, coalesce(
    array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum = ANY (k.indkey)), '{{}}'
) AS key
FROM ({TABLES}) t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0
LEFT JOIN pg_index k ON k.indrelid = t.oid AND k.indisprimary
WHERE NOT a.attisdropped AND a.attgenerated = '' GROUP BY t.name ORDER BY t.name
"""
"""Columns of all tables, and those of the primary key."""

Rows = dict[tuple[Any, ...], dict[str, Any]]
"""Rows of a table by primary key, with the names of its columns; without one, by a number."""
WITHOUT_KEY = "(number)"
VERSION = "(xmin)"
"""The transaction that wrote a row: it differs after an UPDATE that sets the values it had."""


def insert_all(url: str, project: Project) -> None:
    """Insert the rows that are written by hand, but for those that this revision refuses."""
    with psycopg.connect(url) as connection:
        tables = {table: columns for table, columns, _ in connection.execute(COLUMNS)}
        for table in [table for table in project.rows if table in tables]:
            for row in project.rows[table]:
                existing = {name: value for name, value in row.items() if name in tables[table]}
                try:
                    with suppress(psycopg.IntegrityError), connection.transaction():
                        insert(connection, table, existing)
                except psycopg.Error as error:
                    name, value = next(iter(row.items()))
                    raise RowsError(
                        f"{project.rows_file}, the row of {table} with {name} = {value!r}:"
                        f" {str(error).splitlines()[0]}"
                    ) from error


def content(url: str, *, versions: bool = False) -> dict[str, Rows]:
    """Read all rows, with their versions if asked for."""
    columns = f'*, xmin::text AS "{VERSION}"' if versions else "*"
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SET TimeZone = 'UTC'")  # which a revision may set for the database
        # As text, since Python lacks some times: infinity, the year 10000.
        for name in ("date", "timestamp", "timestamptz"):
            connection.adapters.register_loader(name, TextLoader)
        return {
            table["name"]: {
                tuple((name, row[name]) for name in table["key"]) or ((WITHOUT_KEY, number),): row
                for number, row in enumerate(
                    connection.execute(f"SELECT {columns} FROM {table['name']}".encode())
                )
            }
            for table in connection.execute(COLUMNS).fetchall()
        }


def lost(before: dict[str, Rows], after: dict[str, Rows]) -> set[str]:
    """Return the tables whose rows, and the columns whose values, differ or are missing."""
    names = set()
    for table, rows in before.items():
        if after.get(table, {}).keys() != rows.keys():
            names.add(table)
        elif ((WITHOUT_KEY, 0),) in rows:
            kept = rows[((WITHOUT_KEY, 0),)].keys()
            others = [{n: row.get(n, ...) for n in kept} for row in after[table].values()]
            if sorted(map(repr, rows.values())) != sorted(map(repr, others)):
                names.add(table)
        else:
            for key, row in rows.items():
                now = after[table][key]
                names |= {f"{table}.{name}" for name in row if now.get(name, ...) != row[name]}
    return names


def changed_rows(before: dict[str, Rows], after: dict[str, Rows]) -> dict[str, dict[str, Any]]:
    """Return the key of a row that differs or is missing, by table: if possible, in its values.

    Without a key, any row of the table stands for it.
    """
    changed: dict[str, dict[str, Any]] = {}
    for table, rows in before.items():
        now = after.get(table, {})
        keys = [key for key, row in rows.items() if now.get(key) != row]
        version = {VERSION: None}
        keys.sort(key=lambda key: rows[key] | version == now.get(key, {}) | version)
        for key in keys[:1]:
            changed[table] = {} if key[0][0] == WITHOUT_KEY else dict(key)
    return changed


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
