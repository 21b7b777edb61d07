"""Detects connection poolers that assign a server connection per transaction or statement.

Neither settings nor session-level locks work through one: they remain on a server connection that
is assigned to another client next.
"""

import selectors
import time
from contextlib import closing, suppress

import psycopg
from alembic.util import CommandError
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from trading_bot_schema.drivers import without_libpq_variables

SECONDS = 5
"""Longest wait for an answer that a pooler in transaction mode may be unable to give."""
TRIALS = 20
"""In transaction mode with two server connections, a trial detects it with probability 1/2."""

REFUSAL = (
    "DATABASE_URL leads to a connection pooler in transaction or statement mode, through which"
    " neither the migration lock nor timeouts work: migrate over a direct connection, or a pooler"
    " in session mode."
)


def refuse_transaction_pooling(connection: psycopg.Connection, _: object = None) -> None:
    """Refuse a connection that does not keep its server process between transactions.

    Sets nothing and takes no lock. If the process that answers is not the one reported to libpq,
    there is a pooler, in any mode. Then a second client holds a transaction: in session mode, it
    gets another process, and this connection keeps its own.

    Raises:
        CommandError: There is a pooler in transaction or statement mode.
    """
    autocommit = connection.autocommit
    connection.autocommit = True
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.autocommit = autocommit
    process = row and row[0]
    info = connection.info
    if process == info.backend_pid:
        return
    with without_libpq_variables():
        second = psycopg.connect(info.dsn, password=info.password)
    with closing(second):
        for _ in range(TRIALS):
            if (
                _process_in_transaction(second) == process
                or _process_in_transaction(connection) != process
            ):
                connection.close()
                raise CommandError(REFUSAL)
            connection.rollback()
            if second.info.transaction_status != TransactionStatus.INTRANS:
                break  # a full pool, which queues the second client
            second.rollback()


def refuse_callers_pooling(connection: Connection) -> None:
    """Refuse such a connection of a caller, if its driver is psycopg.

    Raises:
        CommandError: There is a pooler in transaction or statement mode.
    """
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection):
        try:
            refuse_transaction_pooling(driver)
        except CommandError:
            connection.invalidate()
            raise


def _process_in_transaction(connection: psycopg.Connection) -> int | None:
    """Begin a transaction and return its server process; None: an error, or no answer."""
    # With libpq's own functions, as psycopg's wait without a limit.
    server = connection.pgconn
    results = []
    deadline = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as selector, suppress(psycopg.OperationalError):
        selector.register(server.socket, selectors.EVENT_READ)
        server.send_query(b"BEGIN; SELECT pg_backend_pid()")
        while True:
            while server.is_busy():
                if not selector.select(max(0, deadline - time.monotonic())):
                    return None
                server.consume_input()
            if (result := server.get_result()) is None:
                break
            results.append(result)
    if server.transaction_status != TransactionStatus.INTRANS:
        return None
    return int(results[-1].get_value(0, 0) or 0)
