"""Intercepts the statements of a connection, also those that do not pass through SQLAlchemy."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

Around = Callable[[psycopg.Connection[Any], str, Any, bool], AbstractContextManager[None]]
"""Takes the connection, the statement, its parameters, and whether they are those of several."""


def intercept(connection: Connection, around: Around) -> None:
    """Run each statement of psycopg's cursors within a context manager."""

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            with around(self.connection, _text(self, query), params, False):
                return super().execute(query, params, **options)

        def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
            with around(self.connection, _text(self, query), params_seq, True):
                super().executemany(query, params_seq, **options)

        @contextmanager
        def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
            with (
                self.connection.transaction(),  # as COPY is, so that it is observed in one
                around(self.connection, _text(self, statement), params, False),
                super().copy(statement, params, **options) as copy,
            ):
                yield copy

    driver: Any = connection.connection.driver_connection
    driver.cursor_factory = Cursor


def run(
    connection: psycopg.Connection[Any], query: str, parameters: list[Any] | None = None
) -> psycopg.Cursor[Any]:
    """Run a query that is not intercepted."""
    return psycopg.Cursor(connection).execute(query.encode(), parameters, prepare=False)


def _text(cursor: psycopg.Cursor[Any], query: Any) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(cursor)
    return query.decode() if isinstance(query, bytes) else str(query)
