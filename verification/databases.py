"""Databases for tests: created in milliseconds, dropped afterwards."""

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping, Set
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy import URL, Engine, create_engine, make_url, pool

from trading_bot_schema import embedded


def execute(url: str, *statements: str) -> None:
    """Run statements, each outside a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for a role whose password is ``pw``."""
    target = make_url(url).set(username=role, password="pw")
    return target.render_as_string(hide_password=False)


def scalar(url: str, query: str, *values: object) -> Any:
    """Return the first value of a query's result."""
    with psycopg.connect(url, autocommit=True) as connection:
        return (connection.execute(query.encode(), values).fetchone() or [None])[0]


@contextmanager
def transaction(
    url: str, *statements: str, **options: Any
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Run statements on a connection with options, and roll back at the end of the block."""
    with psycopg.connect(url, **options) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
        if not connection.closed:
            connection.rollback()


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


def release(url: str) -> int:
    """Return the release of a server, such as 18."""
    return int(scalar(url, "SHOW server_version_num")) // 10_000


@contextmanager
def database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    """Create a database on a server as a copy of a template, yield its URL, and drop it."""
    with closing(Factory(server)) as make:
        yield make(template, name)


class Factory:
    """Creates databases on a server, and drops those that remain when it is closed.

    It keeps one connection, as each costs as much as a small query.

    Attributes:
        app: The application's role, if the databases belong to another one.
    """

    app = ""

    def __init__(self, server: str) -> None:
        """Connect to a server."""
        self.server = server
        self.prefix = f"test_{uuid4().hex[:12]}"
        self._numbers = itertools.count(1)
        self._connection = psycopg.connect(server, autocommit=True)
        self._names: set[str] = set()

    def __call__(self, template: str = "template0", name: str = "") -> str:
        """Return the URL of a new database, a copy of a template."""
        name = name or f"{self.prefix}_{next(self._numbers)}"
        # Copying the files takes half the time of copying pages.
        copy = f'TEMPLATE "{template}" STRATEGY FILE_COPY'
        self._connection.execute(f'CREATE DATABASE "{name}" {copy}'.encode())
        self._names.add(name)
        return make_url(self.server).set(database=name).render_as_string(hide_password=False)

    def drop(self, *urls: str) -> None:
        """Drop databases."""
        self._drop({*map(name_of, urls)})

    def close(self) -> None:
        """Drop all databases, and close the connection."""
        self._drop(self._names)
        self._connection.close()

    def _drop(self, names: Set[str]) -> None:
        for name in names:
            self._connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        self._names = self._names - names


def name_of(url: str) -> str:
    """Return the name of a database."""
    return str(make_url(url).database)


def sync_engine(url: str | URL) -> Engine:
    """Return an engine on psycopg that keeps no connections."""
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=pool.NullPool,
        hide_parameters=True,
    )


def version(url: str) -> str | None:
    """Return the revision of a database, as ``alembic_version`` has it."""
    with sync_engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def program(name: str, url: str, *options: str, script: str = "") -> str:
    """Run ``psql`` or ``pg_dump`` of the embedded PostgreSQL; return what it prints."""
    result = subprocess.run(
        [embedded.programs() / name, f"--dbname={url}", *options],
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
