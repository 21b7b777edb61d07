"""Databases for tests: created in milliseconds, dropped afterwards."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from alembic.runtime.migration import MigrationContext
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


def release(url: str) -> int:
    """Return the release of a server, such as 18."""
    return int(scalar(url, "SHOW server_version_num")) // 10_000


@contextmanager
def database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    """Create a database on a server as a copy of a template, yield its URL, and drop it."""
    execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def database_factory(server: str) -> Iterator[Callable[..., str]]:
    """Yield a function that creates a database as a copy of a template and returns its URL.

    The databases are dropped at the end.
    """
    prefix = f"test_{uuid4().hex[:12]}"
    numbers = itertools.count(1)
    with ExitStack() as stack:
        yield lambda template="template0": stack.enter_context(
            database(server, f"{prefix}_{next(numbers)}", template)
        )


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
