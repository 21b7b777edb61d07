"""Scheduling: the bots that are due, the worker that runs each, and the bots that none runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Function,
    Select,
    case,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import aliased, contains_eager
from sqlalchemy.sql.dml import ReturningUpdate

from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus
from models.user import User

# A literal, as PostgreSQL cannot match a parameter with the index's predicate.
_IS_RUNNING = BotState.status == literal(BotStatus.RUNNING, literal_execute=True)
_LEASES = int.from_bytes(b"bot")
"""First of the two keys of the leases' advisory locks; the second is the bot's id.

Locks with two keys are distinct from those with one key, such as the migrator's.
"""


async def claim_due_bots(session: AsyncSession, limit: int = 100) -> list[BotState]:
    """Claim the bots that are due, and return their states, the longest wait first.

    A bot is due if it and its owner are active, its state is ``running``, and its interval has
    passed since it last ran. Claiming sets ``last_run_at``, so that no other worker gets the bot
    before the interval has passed again; a run that may take longer needs a :func:`bot_lease`.
    Each state has its ``config``, and both are refreshed if the session has loaded them already.

    Commit at once, then run the bots: a transaction that stays open keeps PostgreSQL from reusing
    the space of rewritten rows. Bots that another transaction has locked are skipped.
    """
    return list(await session.scalars(claim(limit)))


def claim(limit: int) -> Select[BotState]:
    """Select what :func:`claim_due_bots` returns, after updating it, in one statement."""
    interval = func.make_interval(0, 0, 0, 0, 0, 0, BotConfig.check_interval_seconds)
    due = (
        select(BotState.id, BotState.last_run_at)
        .join(BotState.config)
        .join(BotConfig.owner)
        .where(
            BotConfig.is_active,
            User.is_active,
            _IS_RUNNING,
            or_(BotState.last_run_at.is_(None), BotState.last_run_at <= func.now() - interval),
        )
        .order_by(BotState.last_run_at.asc().nulls_first())
        .limit(limit)
        .with_for_update(of=BotState, skip_locked=True, key_share=True)
        .cte("due")
    )
    claimed = (
        update(BotState)
        .where(BotState.id == due.c.id)
        .values(last_run_at=func.now())
        .returning(*BotState.__table__.columns, due.c.last_run_at.label("previous_run_at"))
        .cte("claimed")
    )
    state = aliased(BotState, claimed)
    return (
        select(state)
        .join(state.config)
        .options(contains_eager(state.config))
        .order_by(claimed.c.previous_run_at.asc().nulls_first(), state.id)
        .execution_options(populate_existing=True)
    )


@asynccontextmanager
async def bot_lease(connection: AsyncConnection, bot_config_id: int) -> AsyncIterator[bool]:
    """Yield whether this worker alone may run a bot, until the block or the connection ends.

    ::

        async with engine.connect() as connection, bot_lease(connection, bot.id) as leased:
            if leased:
                ...

    The lease is a session-level advisory lock, so it needs no transaction, and it ends with the
    server's side of the connection: when a worker dies, at once or when TCP keepalive detects it.
    Use a dedicated connection of an engine that replaces broken ones, as ``models.engine`` does;
    transactions that the block begins on it are rolled back at the end. If the lock cannot be
    released, since the worker was cancelled or the connection is broken, the connection is
    invalidated: the pool's reset rolls back, but keeps advisory locks.

    Do not use it through PgBouncer's transaction mode, where each transaction may run on another
    server connection: the lock would pass to other clients, and be released at any time
    (PgBouncer documentation, "Features": session-level advisory locks are never supported there).

    Raises:
        InvalidRequestError: The connection is in a transaction.
    """
    if connection.in_transaction():
        raise InvalidRequestError("a lease needs a connection that is not in a transaction")
    # If this is cancelled, SQLAlchemy invalidates the connection.
    leased = await _call(connection, func.pg_try_advisory_lock(_LEASES, bot_config_id))
    try:
        yield leased
    finally:
        await _release(connection, bot_config_id, leased)


async def _release(connection: AsyncConnection, bot_config_id: int, leased: bool) -> None:
    if connection.invalidated:
        return
    try:
        if connection.in_transaction():
            await connection.rollback()
        if leased:
            await _call(connection, func.pg_advisory_unlock(_LEASES, bot_config_id))
    except BaseException as error:
        await connection.invalidate()
        if not isinstance(error, Exception):
            raise


async def _call(connection: AsyncConnection, function: Function[bool]) -> bool:
    result = await connection.scalar(select(function))
    await connection.commit()
    return bool(result)


def tick(bot_config_id: int, **values: Any) -> ReturningUpdate[BotState]:
    """Update a bot's state after a run, and return it; ``last_run_at`` becomes now.

    A state that the session has loaded gets the new values too. Columns that a trade changes are
    written by :func:`~models.queries.open_position` and :func:`~models.queries.close_position`,
    and the application must not compute the day.
    """
    return (
        update(BotState)
        .where(BotState.id == bot_config_id)
        .values(last_run_at=func.now(), **values)
        .returning(BotState)
        .execution_options(populate_existing=True)
    )


def unattended_bots(intervals: int = 5) -> Select[BotConfig, str]:
    """Select the bots that hold a position or are switched on but not run, with the reason.

    The first reason that applies: ``bot switched off``, ``owner inactive``, ``no state row``,
    ``status stopped``, ``status error``, or ``not run for several intervals``, by default five.
    A bot that has never run counts from the last change of its state. Each bot has its ``state``.
    """
    interval = func.make_interval(0, 0, 0, 0, 0, 0, intervals * BotConfig.check_interval_seconds)
    last_run: ColumnElement[datetime] = func.coalesce(
        BotState.last_run_at, BotState.last_updated_at
    )
    reason = case(
        (~BotConfig.is_active, "bot switched off"),
        (~User.is_active, "owner inactive"),
        (BotState.id.is_(None), "no state row"),
        (BotState.status != BotStatus.RUNNING, literal("status ").concat(BotState.status)),
        (last_run < func.now() - interval, "not run for several intervals"),
    )
    return (
        select(BotConfig, reason.label("reason"))
        .join(BotConfig.owner)
        .outerjoin(BotConfig.state)
        .where(or_(BotConfig.is_active, BotState.in_position), reason.is_not(None))
        .options(contains_eager(BotConfig.state))
        .order_by(BotConfig.id)
        .execution_options(populate_existing=True)
    )
