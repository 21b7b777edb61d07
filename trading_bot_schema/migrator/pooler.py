"""Connection poolers that lend a server connection for a transaction or a statement only.

Neither settings nor session locks work through one: they stay behind on a server connection that
another client gets next.
"""

import selectors
import time
from contextlib import closing, suppress

import psycopg
from alembic.util import CommandError
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

SECONDS = 5
"""How long to wait for an answer that a pooler in transaction mode may not be able to give."""
TRIALS = 20
"""In transaction mode with two server connections, the odds of a trial are even."""

REFUSAL = (
    "DATABASE_URL leads to a connection pooler in transaction or statement mode, through which"
    " neither the migration lock nor timeouts work: migrate over a direct connection, or a pooler"
    " in session mode."
)


def refuse_transaction_pooling(connection: psycopg.Connection) -> None:
    """Refuse a connection that does not keep its server process from one transaction to the next.

    Sets nothing and takes no lock. Where libpq was told of another process than answers, there is
    a pooler, in whatever mode. Then a second client holds a transaction: in session mode, the
    process of this connection cannot be the one that it gets, and answers this one as before.

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
    with closing(psycopg.connect(info.dsn, password=info.password)) as second:
        for _ in range(TRIALS):
            if (
                _process_in_transaction(second) == process
                or _process_in_transaction(connection) != process
            ):
                connection.close()
                raise CommandError(REFUSAL)
            connection.rollback()
            if second.info.transaction_status != TransactionStatus.INTRANS:
                break  # a pool without a session for it, whose clients get theirs in turn
            second.rollback()


def refuse_callers_pooling(connection: Connection) -> None:
    """Refuse such a connection of a caller's, if its driver is psycopg.

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
    """Begin a transaction and return the process it runs in; None: an error, or no answer."""
    # With libpq's own functions, as psycopg's wait for ever.
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
