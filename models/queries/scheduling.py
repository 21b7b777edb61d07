"""Scheduling: the bots that are due, the worker that runs each, and the bots that none runs."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Function,
    Select,
    Update,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import aliased, contains_eager

from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus
from models.queries.positions import refresh_states
from models.queries.values import exact
from models.user import User

_STATES = BotState.metadata.tables[BotState.__tablename__]
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
            # A literal, as PostgreSQL cannot match a parameter with the index's predicate.
            BotState.status == literal(BotStatus.RUNNING, literal_execute=True),
            or_(
                BotState.last_run_at.is_(None),
                BotState.last_run_at <= func.now() - interval,
                # After the clock was put back. now() is earlier than what others have written.
                BotState.last_run_at > func.clock_timestamp(),
            ),
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


class Prices(TypedDict, total=False):
    """Prices of a position that the application sets, in quote currency for one coin."""

    trailing_stop_price: Decimal | None
    max_price_since_entry: Decimal | None
    take_profit_price: Decimal | None
    stop_loss_price: Decimal | None


async def tick(session: AsyncSession, bot_config_id: int, **prices: Unpack[Prices]) -> None:
    """Write the prices of a bot's position after a run; ``last_run_at`` becomes now.

    See :func:`ticks`.
    """
    await ticks(session, {bot_config_id: prices})


async def ticks(session: AsyncSession, prices: Mapping[int, Prices]) -> None:
    """Write the prices of many bots, by id, as :func:`tick` does, in one round trip.

    A state that the session has loaded is refreshed. What follows from the trades, such as the
    size and the day, is written by :func:`~models.queries.record_trade`.

    Raises:
        ValueError: A name is not one of :class:`Prices`, or a price is not exact.
    """
    await session.flush()
    rounds: defaultdict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for bot, values in sorted(prices.items()):
        if unknown := values.keys() - Prices.__annotations__.keys():
            raise ValueError(f"not a price of a position: {', '.join(sorted(unknown))}")
        checked = {k: None if v is None else exact(k, v) for k, v in values.items()}
        rounds[frozenset(values)].append({"bot": bot, **checked})
    for names, rows in rounds.items():
        await session.execute(tick_statement(names), rows if len(rows) > 1 else rows[0])
    await refresh_states(session, prices)


@cache
def tick_statement(names: frozenset[str]) -> Update:
    """Update the prices with these names of ``:bot``, and ``last_run_at``."""
    values: dict[str, Any] = {name: bindparam(name) for name in sorted(names)}
    return (
        update(_STATES)
        .where(_STATES.c.id == bindparam("bot"))
        .values(values | {"last_run_at": func.now()})
    )


async def start_bot(session: AsyncSession, bot_config_id: int) -> None:
    """Switch a bot on: ``is_active`` and ``running``, with a state row and without an error.

    Raises:
        NoResultFound: There is no such bot.
    """
    await _switch(session, bot_config_id, BotStatus.RUNNING, is_active=True)


async def stop_bot(session: AsyncSession, bot_config_id: int, error: str | None = None) -> None:
    """Switch a bot off, or with ``error``, a message for its owner, set its status to ``error``.

    It enters no position from then on. An entry that is reserved, and a position, remain:
    :func:`unattended_bots` lists them. In case of an error, the owner's switch stays on.

    Raises:
        NoResultFound: There is no such bot.
    """
    if error is None:
        await _switch(session, bot_config_id, BotStatus.STOPPED, is_active=False)
    else:
        message = error.replace("\0", "\ufffd")  # which PostgreSQL cannot store
        await _switch(session, bot_config_id, BotStatus.ERROR, last_error_message=message)


async def _switch(
    session: AsyncSession,
    bot_config_id: int,
    status: BotStatus,
    *,
    is_active: bool | None = None,
    last_error_message: str | None = None,
) -> None:
    await session.flush()
    await session.execute(
        insert(_STATES)
        .from_select(["id"], select(BotConfig.id).where(BotConfig.id == bot_config_id))
        .on_conflict_do_nothing()
    )
    # The state first, as everywhere.
    (
        await session.execute(
            update(_STATES)
            .where(_STATES.c.id == bot_config_id)
            .values(status=status, last_error_message=last_error_message)
            .returning(_STATES.c.id)
        )
    ).one()
    if is_active is not None:
        await session.execute(
            update(BotConfig).where(BotConfig.id == bot_config_id).values(is_active=is_active)
        )
    await refresh_states(session, [bot_config_id])


_LOCKS = table("pg_locks", *map(column, ("locktype", "classid", "objid", "objsubid", "pid")))
_SESSIONS = table("pg_stat_activity", *map(column, ("pid", "datname", "state_change")))
_LEASED = (
    select(cast(_LOCKS.c.objid, BigInteger).label("bot"), _SESSIONS.c.state_change.label("since"))
    .join(_SESSIONS, _SESSIONS.c.pid == _LOCKS.c.pid)
    .where(
        _LOCKS.c.locktype == "advisory",
        cast(_LOCKS.c.classid, BigInteger) == _LEASES,
        _LOCKS.c.objsubid == 2,  # a lock with two keys
        _SESSIONS.c.datname == func.current_database(),
    )
    .subquery("leased")
)
"""Selects the leased bots, and since when the connection that has the lease is idle."""


def unattended_bots(intervals: int = 5) -> Select[BotConfig, str]:
    """Select the bots that hold a position or are switched on but not run, with the reason.

    The first reason that applies: ``bot switched off``, ``owner inactive``, ``no state row``,
    ``status stopped``, ``status error``, ``last run in the future``, ``not run for several
    intervals``, by default five, or ``lease held for several intervals``: a worker has the lease
    but has not used its connection for so long, and may hang, while others claim the bot in vain.
    A bot that has never run counts from the last change of its state. Each bot has its ``state``.
    """
    # As a float: the product may exceed an integer.
    seconds = BotConfig.check_interval_seconds * literal(float(intervals), Double)
    limit = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    last_run: ColumnElement[datetime] = func.coalesce(
        BotState.last_run_at, BotState.last_updated_at
    )
    reason = case(
        (~BotConfig.is_active, "bot switched off"),
        (~User.is_active, "owner inactive"),
        (BotState.id.is_(None), "no state row"),
        (BotState.status != BotStatus.RUNNING, literal("status ").concat(BotState.status)),
        (BotState.last_run_at > func.clock_timestamp(), "last run in the future"),
        (last_run < limit, "not run for several intervals"),
        (_LEASED.c.since < limit, "lease held for several intervals"),
    )
    return (
        select(BotConfig, reason.label("reason"))
        .join(BotConfig.owner)
        .outerjoin(BotConfig.state)
        .outerjoin(_LEASED, _LEASED.c.bot == BotConfig.id)
        .where(or_(BotConfig.is_active, BotState.in_position), reason.is_not(None))
        .options(contains_eager(BotConfig.state))
        .order_by(BotConfig.id)
        .execution_options(populate_existing=True)
    )
