"""Inserts rows by SQL, without the models: any value, in a column of any name."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row


def insert(
    connection: psycopg.Connection[Any], table: str, row: Mapping[str, Any]
) -> dict[str, Any]:
    """Insert a row, also with a given id; return the stored row."""
    statement = sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) RETURNING *"
    ).format(
        sql.SQL(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, row).fetchone() or {}
