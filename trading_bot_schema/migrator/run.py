"""Runs the command for which Alembic has loaded ``env.py``, with retries for its locks."""

import logging
import random
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, closing, nullcontext

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trading_bot_schema.console import StatusLine
from trading_bot_schema.migrator.connection import check_search_path, connect
from trading_bot_schema.migrator.errors import (
    DEADLOCK_DETECTED,
    LOCK_NOT_AVAILABLE,
    reason,
    sqlstate,
)
from trading_bot_schema.migrator.hold import HeldTooLongError, Hold
from trading_bot_schema.migrator.lock import migration_lock
from trading_bot_schema.migrator.plan import Plan
from trading_bot_schema.migrator.pooler import refuse_callers_pooling
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.migrator.statements import Timeouts, limits
from trading_bot_schema.migrator.watcher import Watcher
from trading_bot_schema.url import masked

log = logging.getLogger("alembic.migrator")

VERSION_TABLE = "alembic_version"
LONGEST_PAUSE = 5
"""Seconds between two attempts."""

HELD = (
    "Do less in the transaction that has this lock; or, when the table may be blocked, run it"
    " again with `-x hold_timeout=1min`."
)
UNWATCHED = (
    "So the migration cannot be watched, and nothing would limit for how long it blocks a table:"
    " `-x hold_timeout=0` runs it without that limit."
)


def run_migrations() -> None:
    """Run the migrations of the command."""
    with context.begin_transaction():
        context.run_migrations()


def run_online(
    configure: Callable[..., None],
    settings: Settings,
    target: Callable[[], URL],
    tables: Collection[str] = (),
    status_line: StatusLine | None = None,
) -> None:
    """Run the migrations, one migrator at a time.

    Args:
        configure: Calls ``context.configure`` with the options of the project and those given.
        settings: Those of the migrator.
        target: Returns the database, unless the caller gave a connection or engine in
            ``config.attributes["connection"]``.
        tables: What the application needs.
        status_line: Shows the progress on a terminal.
    """
    given = context.config.attributes.get("connection")
    opened: AbstractContextManager[Connection]
    if given is None:
        opened = connect(target(), settings)
    else:
        opened = nullcontext(given) if isinstance(given, Connection) else given.connect()
    with opened as connection:
        configure(connection=connection)
        _check_version_table()
        # Kept when an attempt fails.
        plan = Plan(context.get_context(), context.script, settings, tables)
        configure(connection=connection, **plan.options)
        if given is None:
            _run(connection, plan, status_line)
        else:
            check_search_path(connection)
            if not plan.reads_only and not connection.in_transaction():
                refuse_callers_pooling(connection)
            # Once, with the caller's timeouts, exceptions and transaction.
            with _lock_for(plan, connection):
                run_migrations()


def _run(connection: Connection, plan: Plan, status_line: StatusLine | None) -> None:
    """Run the migrations of a plan on a connection that :func:`connect` opened.

    Raises:
        CommandError: They failed. The message says why and what to do.
    """
    try:
        check_search_path(connection)
        with _lock_for(plan, connection):
            _try_repeatedly(connection, plan, status_line)
        if not plan.reads_only:
            _log_result(connection, plan)
    except (SQLAlchemyError, KeyboardInterrupt) as error:
        cause = _cause(error)
        if isinstance(cause, DBAPIError):
            why = reason(cause, on_standby=_is_standby(connection))
            raise CommandError(f"{plan.prefix}{why} {plan.partial_effects}".rstrip()) from cause
        if isinstance(cause, KeyboardInterrupt):
            cause.add_note(
                f"{plan.prefix}What was not committed is undone. {plan.partial_effects}".rstrip()
            )
            raise cause from None
        raise


def _check_version_table() -> None:
    if (table := context.get_context().version_table) != VERSION_TABLE:
        raise CommandError(
            f"env.py configures version_table={table!r}, but `plan`, `drift` and docs/roles.sql"
            f" use {VERSION_TABLE}. Remove the option, and rename the table if it exists."
        )


def _is_standby(connection: Connection) -> bool:
    # Reported by PostgreSQL 14 and later when a connection is opened.
    driver = None if connection.invalidated else connection.connection.driver_connection
    return bool(driver and driver.info.parameter_status("in_hot_standby") == "on")


def _cause(error: BaseException) -> BaseException:
    """Return the original cause of an error: Alembic may fail again during cleanup."""
    chain = [error]
    while (context := chain[-1].__context__) is not None:
        chain.append(context)
    causes = (
        link
        for kind in (KeyboardInterrupt, DBAPIError)
        for link in chain
        if isinstance(link, kind)
    )
    return next(causes, error)


def _lock_for(plan: Plan, connection: Connection) -> AbstractContextManager[None]:
    return nullcontext() if plan.reads_only else migration_lock(connection, plan.settings())


def _try_repeatedly(connection: Connection, plan: Plan, status_line: StatusLine | None) -> None:
    timeouts, hold = Timeouts(plan.settings), Hold(plan.settings)
    watching = closing(Watcher(connection, plan.settings, hold, status_line))
    step, attempt = None, 0
    with limits(connection, timeouts, hold), watching as watcher:
        while True:
            watcher.blockers = ""
            try:
                # In a transaction from here, so that Alembic does not create or empty its version
                # table in a separate one.
                connection.begin()
                run_migrations()
                connection.commit()
            except (DBAPIError, HeldTooLongError) as error:
                if isinstance(error, HeldTooLongError) or hold.expired or hold.unwatched:
                    why, advice = (
                        (hold.expired, HELD) if hold.expired else (hold.unwatched, UNWATCHED)
                    )
                    changed = plan.partial_effects or "Nothing is changed."
                    raise CommandError(f"{plan.prefix}{why} {changed} {advice}") from error
                if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
                    raise
                connection.rollback()
                blocked = f"{reason(error)} Blocked by {watcher.blocked_by}."
                if plan.remaining[:1] != [step]:
                    step, attempt = next(iter(plan.remaining), None), 0
                attempt += 1
                if attempt == plan.settings().lock_attempts:
                    seconds = f"{timeouts.lock_timeout / 1000:g} s"
                    tried = (
                        f"{attempt} times, for {seconds} each"
                        if attempt > 1
                        else (f"once, for {seconds}")
                    )
                    end = ", or end them with SELECT pg_terminate_backend(pid)"
                    raise CommandError(
                        f"{plan.prefix}{blocked} Tried {tried}. Run it again when they are"
                        f" done{end if 'pid ' in watcher.blocked_by else ''}."
                        f" {plan.partial_effects}".rstrip()
                    ) from error
            else:
                return
            pause = min(2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
            log.warning(
                "%s%s Trying again in %.1f s.",
                plan.prefix,
                blocked,
                pause,
                extra=plan.fields
                | {"event": "blocked", "attempt": attempt, "blockers": watcher.blocked_by},
            )
            time.sleep(pause)


def _log_result(connection: Connection, plan: Plan) -> None:
    heads = context.get_context().get_current_heads()
    revision = ", ".join(heads) or "base"
    if heads and set(heads) == set(plan.script.get_heads()):
        revision += " (head)"
    # The engine's URL has no password.
    target = masked(connection.engine.url.set(drivername="postgresql"))
    log.info(
        "At %s: %s",
        revision,
        target,
        extra={"event": "finished", "revision": ", ".join(heads) or None, "target": target},
    )
