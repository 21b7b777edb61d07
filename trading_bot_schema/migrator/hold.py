"""A limit on how long a migration blocks the readers or writers of a table.

PostgreSQL has none: ``statement_timeout`` includes the wait for the lock, and excludes the earlier
statements; ``transaction_timeout`` ends the session and with it the migrator's advisory lock.
"""

import time
from collections.abc import Callable
from threading import Lock

from sqlalchemy import Connection, text

from trading_bot_schema.migrator.settings import Settings

# The modes that conflict with ROW EXCLUSIVE, which INSERT, UPDATE and DELETE take (PostgreSQL
# docs, "Table-Level Lock Modes"), on tables that other sessions see, which excludes those
# that the transaction created, temporary tables and catalogs.
_HELD = text(
    """
    SELECT virtualtransaction, mode, CAST(CAST(pg_class.oid AS regclass) AS text) AS table
    FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = :pid AND granted AND locktype = 'relation'
        AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relkind IN ('r', 'p') AND relpersistence <> 't' AND pg_class.oid >= 16384
    ORDER BY mode <> 'AccessExclusiveLock', pg_class.oid
    LIMIT 1
    """
)
# Cast, as an extension may have functions of the same name for other types.
_CANCEL = text("SELECT pg_cancel_backend(CAST(:pid AS integer))")

_LOCKS = {
    "ShareLock": "SHARE on {}, which blocks writes,",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE on {}, which blocks writes,",
    "ExclusiveLock": "EXCLUSIVE on {}, which blocks writes,",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE on {}, which blocks reads and writes,",
}


class HeldTooLongError(Exception):
    """The transaction must not continue: it holds a lock for too long, or nothing limits that."""


class Hold:
    """Ends the transaction that holds a strong lock on an existing table for too long.

    The watching thread sees the lock and cancels the statement. It must not cancel another
    transaction, in particular not one that follows a successful COMMIT. So each transaction has a
    token, which the migrating thread removes before it commits or rolls back; the watching thread
    cancels only if the token is the same as before it read the locks, and holds a mutex until the
    server has sent the signal. The server ignores a signal that arrives between two statements, so
    the migrating thread refuses the next statement, or the COMMIT, itself.

    Python code between two statements is not interrupted, but the next statement is refused.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Take a function that returns the current settings: each revision may have its own."""
        self._settings = settings
        self._mutex = Lock()
        self._transaction: object | None = None
        self._held: tuple[str, float] | None = None  # virtual transaction, seen first when
        self.expired = ""
        """Why the transaction must not continue: the lock that it held for too long, if any."""
        self.unwatched = ""
        """Why no transaction may continue: nothing would limit it."""

    # In the migrating thread.

    def before_statement(self, *, begins: bool, concurrent: bool) -> None:
        """Begin a transaction if this is its first statement; a concurrent one has none.

        Raises:
            HeldTooLongError: The transaction must not continue.
        """
        with self._mutex:
            self._refuse()
            if concurrent:
                self._transaction = None
            elif begins:
                self._transaction = object()

    def after_lone_statement(self) -> None:
        """End the transaction of a successful statement outside a transaction block."""
        with self._mutex:
            self._transaction = None
            self.expired = ""

    def before_commit(self) -> None:
        """End the transaction.

        Raises:
            HeldTooLongError: It must not be committed.
        """
        with self._mutex:
            self._refuse()
            self._transaction = None

    def before_rollback(self) -> None:
        """End the transaction."""
        with self._mutex:
            self._transaction = None

    def _refuse(self) -> None:
        if self.expired or self.unwatched:
            raise HeldTooLongError

    # In the watching thread.

    def check(self, watching: Connection, pid: int) -> None:
        """Cancel the statement of a session if it has held a lock for too long."""
        transaction = self._transaction
        timeout = self._settings().hold_timeout
        if transaction is None or timeout == 0:
            return
        held = watching.execute(_HELD, {"pid": pid}).one_or_none()
        if held is None:
            self._held = None
            return
        now = time.monotonic()
        if self._held is None or self._held[0] != held.virtualtransaction:
            self._held = (held.virtualtransaction, now)
        if (now - self._held[1]) * 1000 < timeout:
            return
        with self._mutex:
            if self._transaction is transaction:
                lock = _LOCKS[held.mode].format(held.table)
                self.expired = (
                    f"It held {lock} for longer than hold_timeout ({timeout / 1000:g} s), and was"
                    " cancelled."
                )
                watching.execute(_CANCEL, {"pid": pid})
