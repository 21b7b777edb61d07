"""The connection that runs the migrations."""

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, pool, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trading_bot_schema.drivers import libpq_arguments, without_libpq_variables
from trading_bot_schema.migrator.errors import not_connected, reason
from trading_bot_schema.migrator.pooler import refuse_transaction_pooling
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.redaction import hide_values
from trading_bot_schema.url import CURRENT_SCHEMA, masked, wrong_schema

log = logging.getLogger("alembic.migrator")

CONNECT_SECONDS = 10
SERVER_SETTINGS = {
    # Release the locks soon if the migrator is killed or its host is lost.
    "idle_in_transaction_session_timeout": "5min",
    # One that pauses between two attempts keeps its lock.
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # Fail rather than see, or change, only the rows that a policy allows.
    "row_security": "off",
    "client_connection_check_interval": "5s",
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
}

# If the server has it: transaction_timeout is new in PostgreSQL 17.
_SET = text(
    "SELECT set_config(name, CAST(:value AS text), false) FROM pg_settings WHERE name = :name"
)


@contextmanager
def connect(url: URL, settings: Settings) -> Iterator[Connection]:
    """Open a connection to migrate with; it is closed, not pooled, afterwards.

    Raises:
        CommandError: The database cannot be reached, or only through a pooler that does not keep
            sessions, or the role cannot be set.
    """
    engine = _engine(url)
    # Before SQLAlchemy's own first statements, which need a transaction.
    event.listen(engine, "connect", refuse_transaction_pooling, insert=True)
    with _open(engine, settings) as connection:
        event.remove(engine, "connect", refuse_transaction_pooling)
        _set_up(connection, settings)
        try:
            yield connection
        finally:
            # A pooler may give the session to another client, with its settings.
            with suppress(SQLAlchemyError):
                if not connection.invalidated:
                    connection.rollback()
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    connection.execute(text("DISCARD ALL"))


def _engine(url: URL) -> Engine:
    defaults = {
        "fallback_application_name": "alembic",
        "connect_timeout": CONNECT_SECONDS,
        # In that of a SQL_ASCII database, psycopg would return bytes.
        "client_encoding": "utf8",
    }
    # Leave no named prepared statement in a session that a pooler gives to other clients.
    arguments: dict[str, Any] = defaults | libpq_arguments(url) | {"prepare_threshold": None}

    def connect() -> psycopg.Connection:
        with without_libpq_variables():
            return psycopg.connect(**arguments)

    engine = create_engine(
        # Without the password, so that it is not shown or pickled with the engine's URL.
        url._replace(drivername="postgresql+psycopg", password=None),
        creator=connect,
        poolclass=pool.NullPool,
        hide_parameters=True,
    )
    hide_values(engine)
    return engine


def _open(engine: Engine, settings: Settings) -> Connection:
    """Connect; retry while the server is starting, full, or does not listen."""
    deadline = time.monotonic() + settings.connect_wait / 1000
    pause = 0.0
    while True:
        try:
            return engine.connect()
        except DBAPIError as error:
            message, temporary = not_connected(error)
            longer = min(2 * pause, 5) or random.uniform(0.1, 0.3)  # noqa: S311
            if not temporary or time.monotonic() + longer > deadline:
                raise CommandError(message) from error
            if not pause:
                log.warning(
                    "%s Trying again for %g s.",
                    message,
                    settings.connect_wait / 1000,
                    extra={"event": "unreachable", "target": masked(engine.url)},
                )
            pause = longer
            time.sleep(pause)


def _set_up(connection: Connection, settings: Settings) -> None:
    values = {
        "lock_timeout": f"{settings.lock_timeout}ms",
        "statement_timeout": f"{settings.statement_timeout}ms",
    }
    try:
        for name, value in (SERVER_SETTINGS | values).items():
            connection.execute(_SET, {"name": name, "value": value})
        connection.commit()
    except DBAPIError as error:
        raise CommandError(f"Cannot set up the connection: {reason(error)}") from error
    if settings.role:
        try:
            connection.execute(select(func.set_config("role", settings.role, False)))
            connection.commit()
        except DBAPIError as error:
            raise CommandError(
                f"Cannot migrate as the role {settings.role}: it does not exist, or the role of"
                " DATABASE_URL is not a member of it. See the setting role."
            ) from error


def check_search_path(connection: Connection) -> None:
    """Refuse a connection whose tables would be in another schema than ``public``.

    Raises:
        CommandError: The message names both.
    """
    began = connection.in_transaction()
    schema, search_path = connection.execute(text(CURRENT_SCHEMA)).one()
    if not began:
        connection.rollback()
    if reason := wrong_schema(schema, search_path):
        raise CommandError(reason)
