"""Databases for tests: made in milliseconds, thrown away afterwards."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, pool

from trading_bot_schema import embedded

ROOT = Path(__file__).resolve().parents[2]


def execute(server: str, statement: sql.Composed) -> None:
    """Run a statement that no transaction may surround."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for a role whose password is ``pw``."""
    found = make_url(url).set(username=role, password="pw")
    return found.render_as_string(hide_password=False)


@contextmanager
def database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    """Make a database on a server, as a copy of another; yield its URL; drop it."""
    execute(
        server,
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        ),
    )
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        execute(
            server,
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)),
        )


def sync_engine(url: str | URL) -> Engine:
    """Return an engine on psycopg that keeps no connections."""
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=pool.NullPool,
        hide_parameters=True,
    )


def alembic_config() -> Config:
    """Return the project's Alembic configuration."""
    return Config(ROOT / "alembic.ini")


def migrate(url: str, revision: str = "head", config: Config | None = None) -> None:
    """Upgrade a database, or downgrade it with a revision such as ``-1`` or ``base``."""
    with sync_engine(url).connect() as connection:
        migrate_on(connection, revision, config)
        connection.commit()


def migrate_on(connection: Connection, revision: str, config: Config | None = None) -> None:
    """Upgrade or downgrade on a connection, by default with the project's configuration."""
    config = config or alembic_config()
    config.attributes["connection"] = connection
    if revision == "base" or revision.startswith("-"):
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def version(url: str) -> str | None:
    """Return the revision that a database is stamped with."""
    with sync_engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def program(name: str, url: str, *options: str, script: str = "") -> str:
    """Run ``psql`` or ``pg_dump`` of the embedded PostgreSQL; return what it prints."""
    done = subprocess.run(
        [embedded.programs() / name, f"--dbname={url}", *options],
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
