"""Scratch databases: created to build a schema in, and dropped afterwards."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from uuid import uuid4

from alembic import command
from alembic.util import CommandError
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from trading_bot_schema import embedded, migrator
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.drift.catalogue import Catalogue, major_version, snapshot
from trading_bot_schema.migrator.errors import reason

PREFIX = "trading_bot_schema_drift_"
_NOT_SQL = re.compile(r"^DATABASE|^ROWS |\(not in the dump\)$")


@contextmanager
def server(version: int, scratch: URL | None) -> Iterator[URL]:
    """Yield the URL of a server of a major version: the one that is given, or an embedded one.

    Raises:
        CommandError: It has another version, or there is none.
    """
    if scratch is None:
        try:
            installed = embedded.major_version()
        except embedded.EmbeddedError:
            installed = None
        if installed != version:
            raise CommandError(
                f"The database's server is PostgreSQL {version}, so what the migrations build has"
                " to be built on such a server, and the embedded one is"
                f" {installed or 'not installed'}. Name a server on which scratch databases may be"
                " created and dropped: --scratch postgresql://..."
            )
    with nullcontext(scratch) if scratch else embedded.temporary({"fsync": "off"}) as url:
        with migrator.connect(url, migrator.Settings(connect_wait=0)) as connection:
            actual = major_version(connection)
        if actual != version:
            raise CommandError(
                f"The server that --scratch names is PostgreSQL {actual}, but the database's is"
                f" {version}, which stores some things differently."
            )
        yield url


@contextmanager
def database(server: URL) -> Iterator[URL]:
    """Create an empty database on a server, yield its URL, and drop it.

    Raises:
        CommandError: It cannot be created.
    """
    name = PREFIX + uuid4().hex[:12]
    try:
        _execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
        yield server.set(database=name)
    finally:
        _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def migrate(url: URL, revisions: Iterable[str]) -> None:
    """Run the migrations up to some revisions; ``alembic_version`` exists in any case.

    Raises:
        CommandError: They fail.
    """
    config = alembic_config()
    with _connected(url, "The scratch database cannot be migrated") as connection:
        config.attributes["connection"] = connection
        command.stamp(config, "base")
        connection.commit()
        for revision in revisions:
            command.upgrade(config, revision)
            connection.commit()


@contextmanager
def built(server: URL, like: Catalogue) -> Iterator[Catalogue]:
    """Yield the schema that the migrations build at a database's revision, in a new database."""
    with database(server) as url:
        if like.revisions is not None:
            migrate(url, like.revisions)
        yield snapshot(url, without=like.unreadable)


def restored(server: URL, reference: Catalogue) -> Catalogue:
    """Return a schema after a dump and a restore into a new database.

    Raises:
        CommandError: Its objects cannot be created.
    """
    with database(server) as url:
        with _connected(url, "The scratch database cannot be restored") as connection:
            connection.execute(text("SET search_path = ''"))
            for name, sql in reference.objects.items():
                if not _NOT_SQL.search(name):
                    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
            connection.commit()
        return snapshot(url)


def _execute(server: URL, statement: str) -> None:
    with _connected(server, "A scratch database cannot be created or dropped") as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(statement))


@contextmanager
def _connected(url: URL, failure: str) -> Iterator[Connection]:
    """Yield a connection whose errors are one of the command."""
    with migrator.connect(url, migrator.Settings(connect_wait=0)) as connection:
        try:
            yield connection
        except DBAPIError as error:
            raise CommandError(f"{failure}: {reason(error)}") from error
