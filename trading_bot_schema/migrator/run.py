"""One run of the migrations, with retries where a lock was not available."""

import itertools
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trading_bot_schema.migrator.blockers import watch_blockers
from trading_bot_schema.migrator.errors import (
    DEADLOCK_DETECTED,
    LOCK_NOT_AVAILABLE,
    reason,
    sqlstate,
)
from trading_bot_schema.migrator.lock import migration_lock
from trading_bot_schema.migrator.plan import Plan
from trading_bot_schema.migrator.pooler import refuse_callers_pooling
from trading_bot_schema.migrator.settings import Settings

log = logging.getLogger("alembic.migrator")


def run(
    connection: Connection, plan: Plan, settings: Settings, run_migrations: Callable[[], None]
) -> None:
    """Run the migrations of a plan on a connection that :func:`connect` opened.

    Raises:
        CommandError: They failed. The message says why and what to do.
    """
    try:
        with _lock_for(plan, connection, settings):
            _try_repeatedly(connection, settings, plan, run_migrations)
        if not plan.reads_only:
            _log_result(connection, plan)
    except SQLAlchemyError as error:
        # When the connection breaks in autocommit_block(), Alembic fails once more on its way out.
        first = error if isinstance(error, DBAPIError) else error.__context__
        if not isinstance(first, DBAPIError):
            raise
        place = f"In {plan.remaining[0]}: " if plan.remaining else ""
        raise CommandError(place + reason(first)) from first
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted. What was not committed is undone: run it again."
        ) from None


def run_for_caller(
    connection: Connection, plan: Plan, settings: Settings, run_migrations: Callable[[], None]
) -> None:
    """Run the migrations of a plan on a connection of the caller's, once.

    The caller keeps its own timeouts and exceptions, and a transaction that it has begun.

    Raises:
        CommandError: Another migrator did not finish in time, or there is a pooler that does not
            keep the lock.
    """
    if not plan.reads_only and not connection.in_transaction():
        refuse_callers_pooling(connection)
    with _lock_for(plan, connection, settings):
        run_migrations()


def _lock_for(
    plan: Plan, connection: Connection, settings: Settings
) -> AbstractContextManager[None]:
    return nullcontext() if plan.reads_only else migration_lock(connection, settings)


def _try_repeatedly(
    connection: Connection, settings: Settings, plan: Plan, run_migrations: Callable[[], None]
) -> None:
    for attempt in itertools.count(1):
        with watch_blockers(connection, settings) as blockers:
            try:
                # In a transaction from here, so that Alembic does not create or empty its version
                # table in one of its own.
                connection.begin()
                run_migrations()
                connection.commit()
            except DBAPIError as error:
                if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
                    raise
                connection.rollback()
                by = blockers[0] if blockers else "a session that was gone too soon to see"
                blocked = f"{plan.remaining[0]}: {reason(error)} Blocked by {by}."
                if attempt == settings.lock_attempts:
                    raise CommandError(
                        f"In {blocked} Tried {attempt} times, for"
                        f" {settings.lock_timeout / 1000:g} s each. Run it again when they are"
                        " done, or end them with SELECT pg_terminate_backend(pid)."
                    ) from error
            else:
                return
        pause = min(2 ** (attempt - 1), 30) * random.uniform(0.5, 1)  # noqa: S311
        log.warning("%s Trying again in %.1f s.", blocked, pause)
        time.sleep(pause)


def _log_result(connection: Connection, plan: Plan) -> None:
    heads = MigrationContext.configure(connection).get_current_heads()
    revision = ", ".join(heads) or "base"
    if heads and set(heads) == set(plan.script.get_heads()):
        revision += " (head)"
    # The engine's URL has no password.
    url = connection.engine.url.set(drivername="postgresql")
    log.info("At %s: %s", revision, url.render_as_string())
