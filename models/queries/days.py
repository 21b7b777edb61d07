"""A bot's day: its pnl and number of trades since midnight."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    SQLColumnExpression,
    func,
    literal,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from models.bot_config import BotConfig
from models.bot_state import BotState
from models.trade import Trade

Moment = datetime | ColumnElement[datetime]


def bot_result(bot_config_id: int, since: datetime) -> Select[int, Decimal | None]:
    """Select the number of a bot's trades since a time, such as midnight, and their pnl.

    The pnl is in the quote currency of the bot's symbol.
    """
    return select(func.count(), func.coalesce(func.sum(Trade.pnl), 0)).where(
        Trade.bot_config_id == bot_config_id, Trade.timestamp >= since
    )


def midnight(since: datetime | None) -> ColumnElement[datetime]:
    """Return the start of the day: the given time, else today's midnight in UTC."""
    if since is None:
        return func.date_trunc("day", func.now(), "UTC", type_=Trade.timestamp.type)
    return literal(since, Trade.timestamp.type)


async def refresh_day(session: AsyncSession, since: datetime, user_id: int | None = None) -> int:
    """Recompute the day of all bots, or of a user's bots, from the trades since a midnight.

    Sets ``daily_pnl`` and ``daily_trades_count``, and returns the number of states that
    differed; the others are not written. Run it at the start of each day, in any time zone:
    ``since`` is the same midnight as for :func:`~models.queries.close_position`. It may also be
    run at any other time, repeatedly, and by several workers, and adds what a crash, an import or
    :func:`~models.queries.record_trade` left uncounted.

    Run it in a transaction of its own: it locks the states in the order of their ids, and waits
    for the transactions that change them. It reads only the trades of the day, bot by bot.
    """
    locked = (await session.scalars(lock_different_days(since, user_id))).all()
    if not locked:
        return 0
    # A separate statement, whose snapshot includes the transactions that the first waited for.
    return len((await session.scalars(recompute_days(locked, since))).all())


def lock_different_days(since: datetime, user_id: int | None = None) -> Select[int]:
    """Select and lock the states that differ from the trades, in the order of their ids."""
    day = _day(BotState.id, since)
    different = select(BotState.id).join(day, true()).where(_differs(day))
    if user_id is not None:
        different = different.join(BotState.config).where(BotConfig.user_id == user_id)
    # Materialized, so that the locking part does not evaluate the condition again: PostgreSQL
    # would compare a state that it waited for with the earlier sum, and skip it if the two happen
    # to be equal. An equal state needs no lock: a close that commits now counts its trade itself.
    states = different.cte("different").prefix_with("MATERIALIZED")
    return (
        select(BotState.id)
        .join(states, states.c.id == BotState.id)
        .order_by(BotState.id)
        .with_for_update(of=BotState, key_share=True)
    )


def recompute_days(ids: Sequence[int], since: Moment) -> ReturningUpdate[BotState]:
    """Set the day of states that are locked, where it differs from the trades; return those."""
    bot = func.unnest(literal(ids, ARRAY(Integer))).column_valued("bot")
    day = _day(bot, since)
    new = select(bot.label("id"), day.c.pnl, day.c.trades).join(day, true()).subquery("today")
    return (
        update(BotState)
        .where(BotState.id == new.c.id, _differs(new))
        .values(daily_pnl=new.c.pnl, daily_trades_count=new.c.trades)
        .returning(BotState)
        .execution_options(populate_existing=True)
    )


def _day(bot_config_id: SQLColumnExpression[int], since: Moment) -> FromClause:
    return (
        select(func.coalesce(func.sum(Trade.pnl), 0).label("pnl"), func.count().label("trades"))
        .where(Trade.bot_config_id == bot_config_id, Trade.timestamp >= since)
        .lateral("day")
    )


def _differs(day: FromClause) -> ColumnElement[bool]:
    return or_(BotState.daily_pnl != day.c.pnl, BotState.daily_trades_count != day.c.trades)
