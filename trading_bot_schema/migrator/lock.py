"""One migrator of a database at a time."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from alembic.util import CommandError
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.functions import Function

from trading_bot_schema.migrator.blockers import describe_sessions
from trading_bot_schema.migrator.settings import Settings

log = logging.getLogger("alembic.migrator")

LOCK_KEY = int.from_bytes(b"migrate")
"""Key of the advisory lock that the running migrator of a database holds."""

LOST = (
    "The migration's session no longer holds its lock, so that another migrator may be running."
    " Migrate over a direct connection, or a pooler in session mode, and see `alembic current`."
)

_HOLDERS = text(
    "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    " AND (classid::bigint << 32) + objid::bigint = :key AND objsubid = 1"
)

_IS_HOLDER = text(f"{_HOLDERS} AND pid = pg_backend_pid()")


@contextmanager
def migration_lock(connection: Connection, settings: Settings) -> Iterator[None]:
    """Hold the migrator's advisory lock.

    It is a session-level lock, so that it is kept during ``autocommit_block()`` and ends with the
    connection. In a transaction that the caller has begun, it is a transaction-level lock instead.

    Raises:
        CommandError: Another migrator did not finish in time, or the lock was lost.
    """
    if connection.in_transaction():
        _wait(connection, settings, func.pg_try_advisory_xact_lock(LOCK_KEY), lambda: None)
        yield
        return
    _wait(connection, settings, func.pg_try_advisory_lock(LOCK_KEY), connection.commit)
    try:
        yield
        connection.commit()
    except BaseException:
        # A connection that broke, or was interrupted within a statement, has released the lock.
        if not connection.invalidated:
            with suppress(SQLAlchemyError):
                connection.rollback()
                _unlock(connection)
        raise
    if not _unlock(connection):
        raise CommandError(LOST)


def check_lock(connection: Connection) -> None:
    """Raise an error unless the server process of this connection holds the lock.

    Raises:
        CommandError: Another process answers, such as behind a pooler that changes them.
    """
    if connection.scalar(_IS_HOLDER, {"key": LOCK_KEY}) is None:
        raise CommandError(LOST)


def holders(connection: Connection) -> Sequence[int]:
    """Return the server process of the running migrator, if there is one."""
    return connection.scalars(_HOLDERS, {"key": LOCK_KEY}).all()


def _unlock(connection: Connection) -> bool:
    unlocked = connection.scalar(select(func.pg_advisory_unlock(LOCK_KEY)))
    connection.commit()
    return bool(unlocked)


def _wait(
    connection: Connection,
    settings: Settings,
    lock: Function[bool],
    end_transaction: Callable[[], None],
) -> None:
    # Not with pg_advisory_lock(), which blocks: its snapshot would keep a CREATE INDEX
    # CONCURRENTLY of the other migrator from finishing.
    deadline = time.monotonic() + settings.wait_timeout / 1000
    waiting = False
    while not connection.scalar(select(lock)):
        holder = describe_sessions(connection, holders(connection)) or "it has just ended"
        end_transaction()
        if time.monotonic() >= deadline:
            raise CommandError(
                f"Another migrator is running on this database: {holder}. Run this again when it"
                " has finished, or wait longer with `-x wait_timeout=30min`."
            )
        if not waiting:
            log.info(
                "Waiting for another migrator: %s",
                holder,
                extra={"event": "waiting", "blockers": holder},
            )
            waiting = True
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311
