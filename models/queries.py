"""The statements that the backend runs all the time, and that the indexes are made for.

Each function returns a statement for ``session.execute()`` or ``session.scalars()``, except
:func:`record_trade`, which runs up to two. The tests prove that they read a handful of pages,
however many trades there are; docs/benchmarks.md has the measurements.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Date,
    Select,
    Update,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from models.api_key import ApiKey
from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus
from models.trade import Trade
from models.user import User

Position = tuple[datetime, int]
"""Where a page of trades ends: ``timestamp`` and ``id`` of its last trade."""


class OrderClash(Exception):  # noqa: N818 - the name says what it is
    """An order id is taken by a trade that says something else.

    Attributes:
        trade_id: The trade that is there.
        columns: What is different about it.
    """

    def __init__(self, trade_id: int, columns: list[str]) -> None:
        """Say what clashes, without the values."""
        super().__init__(f"trade {trade_id} has this order id, but other {', '.join(columns)}")
        self.trade_id, self.columns = trade_id, columns

    def __reduce__(self) -> tuple[type[Self], tuple[int, list[str]]]:
        """Let it pass between processes."""
        return type(self), (self.trade_id, self.columns)


def due_bots(limit: int = 100) -> Select[BotState]:
    """Select and lock running bots whose interval has passed, those that waited longest first.

    Bots that another worker has locked are left out. Write ``last_run_at`` and commit at once,
    then run the bots: a transaction that stays open keeps PostgreSQL from reusing the space of
    rewritten rows.
    """
    interval = func.make_interval(0, 0, 0, 0, 0, 0, BotConfig.check_interval_seconds)
    return (
        select(BotState)
        .join(BotState.config)
        .where(
            BotConfig.is_active,
            # Spelt out, as PostgreSQL cannot match a parameter with the index's condition.
            BotState.status == literal(BotStatus.RUNNING, literal_execute=True),
            or_(BotState.last_run_at.is_(None), BotState.last_run_at <= func.now() - interval),
        )
        .order_by(BotState.last_run_at.asc().nulls_first())
        .limit(limit)
        .with_for_update(of=BotState, skip_locked=True)
    )


def trades_of_bot(
    bot_config_id: int, before: Position | None = None, limit: int = 50
) -> Select[Trade]:
    """Select a page of a bot's trades, the latest first.

    ``before`` is where the page before it ended.
    """
    return _page(Trade.bot_config_id == bot_config_id, before, limit)


def trades_of_user(user_id: int, before: Position | None = None, limit: int = 50) -> Select[Trade]:
    """Select a page of a user's trades; see :func:`trades_of_bot`."""
    return _page(Trade.user_id == user_id, before, limit)


def _page(whose: ColumnElement[bool], before: Position | None, limit: int) -> Select[Trade]:
    # By the last trade seen, not by OFFSET, which reads all that it skips.
    statement = select(Trade).where(whose)
    if before is not None:
        statement = statement.where(tuple_(Trade.timestamp, Trade.id) < before)
    return statement.order_by(Trade.timestamp.desc(), Trade.id.desc()).limit(limit)


def bot_result(bot_config_id: int, since: datetime) -> Select[int, Decimal | None]:
    """Select the number of a bot's trades since a moment, such as midnight, and their pnl.

    The pnl is in the quote currency of the bot's symbol.
    """
    return select(func.count(), func.coalesce(func.sum(Trade.pnl), 0)).where(
        Trade.bot_config_id == bot_config_id, Trade.timestamp >= since
    )


def daily_pnl(
    user_id: int, since: datetime, timezone: str = "UTC"
) -> Select[date, str, Decimal | None]:
    """Select day, quote currency and realised pnl of a user, the latest day first.

    Amounts in different currencies do not add up, so each has rows of its own. A day is one of
    the time zone's, such as ``Europe/Istanbul``.
    """
    day = cast(func.timezone(timezone, Trade.timestamp), Date).label("day")
    quote = func.split_part(Trade.symbol, "/", 2).label("quote")
    return (
        select(day, quote, func.sum(Trade.pnl).label("pnl"))
        .where(Trade.user_id == user_id, Trade.timestamp >= since, Trade.pnl.is_not(None))
        .group_by(day, quote)
        .order_by(day.desc(), quote)
    )


def pnl_by_symbol(user_id: int, since: datetime) -> Select[str, Decimal | None]:
    """Select symbol and realised pnl of a user since a moment, in the symbol's quote currency."""
    return (
        select(Trade.symbol, func.sum(Trade.pnl).label("pnl"))
        .where(Trade.user_id == user_id, Trade.timestamp >= since, Trade.pnl.is_not(None))
        .group_by(Trade.symbol)
        .order_by(Trade.symbol)
    )


async def record_trade(session: AsyncSession, values: Mapping[str, Any]) -> tuple[int, bool]:
    """Record a trade unless its order is recorded already; return its id, and whether it is new.

    Safe to repeat after a timeout and to run from several workers at once: they wait for each
    other, so a transaction that records several orders should sort them by id, lest two
    workers deadlock. Without ``binance_order_id``, a trade on paper, it is always new. ``pnl`` may
    be another one than before, since the application computes it, maybe later; a repeat does not
    store it.

    Raises:
        OrderClash: The order id is taken by a trade that says something else, for instance
            since it was not qualified with the symbol.
    """
    new = await session.scalar(insert_trade(values))
    if new is not None:
        return new, True
    trade_id, different = (await session.execute(compare_trade(values))).one()
    if different:
        raise OrderClash(trade_id, different)
    return trade_id, False


def insert_trade(values: Mapping[str, Any]) -> ReturningInsert[int]:
    """Insert a trade and return its id, or nothing if its order id is taken."""
    statement = insert(Trade).values(**values)
    statement = statement.on_conflict_do_nothing(index_elements=[Trade.binance_order_id])
    return statement.returning(Trade.id)


def compare_trade(values: Mapping[str, Any]) -> Select[int, list[str]]:
    """Select the id of the trade that has the order id, and which columns are different."""
    # The database compares: it has rounded what it stored to the column's type.
    different = [
        case((column.is_distinct_from(cast(values[name], column.type)), name))
        for name, column in Trade.__table__.columns.items()
        if name in values and name not in ("id", "pnl", "binance_order_id")
    ]
    names = func.array_remove(array(different), None)
    return select(Trade.id, names).where(Trade.binance_order_id == values["binance_order_id"])


def open_positions(user_id: int) -> Select[BotState]:
    """Select the states of a user's bots that hold coins."""
    return (
        select(BotState)
        .join(BotState.config)
        .where(BotConfig.user_id == user_id, BotState.in_position)
        .order_by(BotState.id)
    )


def tick(bot_config_id: int, **values: Any) -> ReturningUpdate[BotState]:
    """Update a bot's state after a run, and return it; ``last_run_at`` becomes now.

    A state that the session has loaded gets the new values too.
    """
    return (
        update(BotState)
        .where(BotState.id == bot_config_id)
        .values(last_run_at=func.now(), **values)
        .returning(BotState)
        .execution_options(populate_existing=True)
    )


def reset_daily() -> Update:
    """Set the day's pnl and number of trades of all bots to 0, for the start of a day.

    Rows that are 0 already are not rewritten. Run it in a session of its own: states that a
    session has loaded keep the old values.
    """
    return (
        update(BotState)
        .where(or_(BotState.daily_pnl != 0, BotState.daily_trades_count != 0))
        .values(daily_pnl=0, daily_trades_count=0)
        .execution_options(synchronize_session=False)
    )


def keys_of_user(user_id: int) -> Select[ApiKey]:
    """Select a user's API keys, in the order they were added."""
    return select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id)


def user_by_email(email: str) -> Select[User]:
    """Select the user with an email address, as written."""
    return select(User).where(User.email == email)
