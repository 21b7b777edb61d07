"""The connection that migrates."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, func, pool, select
from sqlalchemy.exc import DBAPIError

from trading_bot_schema.migrator.errors import reason
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.redaction import hide_values

CONNECT_SECONDS = 10


@contextmanager
def connect(url: URL, settings: Settings) -> Iterator[Connection]:
    """Open a connection to migrate with; it is closed, not pooled, afterwards.

    Raises:
        CommandError: The driver is missing or the database cannot be reached.
    """
    engine = _engine(url)
    hide_values(engine)
    try:
        connection = engine.connect()
        for name, value in _server_settings(settings).items():
            connection.execute(select(func.set_config(name, value, False)))
        connection.commit()
    except DBAPIError as error:
        raise CommandError(
            f"Cannot connect to the database: {reason(error)} Check DATABASE_URL (user, password,"
            " host, port, database, sslmode), and that the server is up."
        ) from error
    with connection:
        yield connection


def _engine(url: URL) -> Engine:
    defaults = {"fallback_application_name": "alembic", "connect_timeout": CONNECT_SECONDS}
    arguments = {name: defaults[name] for name in defaults.keys() - url.query.keys()}
    try:
        return create_engine(
            # Without the password, so that nothing that shows or pickles the engine's URL does.
            url._replace(drivername="postgresql+psycopg", password=None),
            connect_args=arguments | ({"password": url.password} if url.password else {}),
            poolclass=pool.NullPool,
            hide_parameters=True,
        )
    except ImportError as error:
        raise CommandError(
            f"The driver psycopg cannot be loaded: {error}. Install it with"
            " pip install 'psycopg[binary]'."
        ) from error


def _server_settings(settings: Settings) -> dict[str, str]:
    return {
        "lock_timeout": f"{settings.lock_timeout}ms",
        "statement_timeout": f"{settings.statement_timeout}ms",
        # Release the locks soon if the migrator was killed or its host is lost.
        "idle_in_transaction_session_timeout": "5min",
        "client_connection_check_interval": "5s",
        "tcp_keepalives_idle": "30s",
        "tcp_keepalives_interval": "10s",
        "tcp_keepalives_count": "3",
    }
