"""Reports for users and operators: pages of trades, pnl and fees."""

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, Date, Select, and_, cast, func, select, true, tuple_

from models.trade import Trade

Cursor = tuple[datetime, int]
"""End of a page of trades: ``timestamp`` and ``id`` of its last trade."""


def trades_of_bot(
    bot_config_id: int, before: Cursor | None = None, limit: int = 50
) -> Select[Trade]:
    """Select a page of a bot's trades, the latest first.

    ``before`` is the end of the previous page.
    """
    return _page(Trade.bot_config_id == bot_config_id, before, limit)


def trades_of_user(user_id: int, before: Cursor | None = None, limit: int = 50) -> Select[Trade]:
    """Select a page of a user's trades; see :func:`trades_of_bot`."""
    return _page(Trade.user_id == user_id, before, limit)


def bot_result(bot_config_id: int, since: datetime) -> Select[int, Decimal | None]:
    """Select the number of a bot's trades since a time, such as midnight, and their pnl.

    The pnl is in the quote currency of the bot's symbol.
    """
    return select(func.count(), func.coalesce(func.sum(Trade.pnl), 0)).where(
        Trade.bot_config_id == bot_config_id, Trade.timestamp >= since
    )


def _page(whose: ColumnElement[bool], before: Cursor | None, limit: int) -> Select[Trade]:
    # By the last trade seen, not by OFFSET, which reads all rows that it skips.
    statement = select(Trade).where(whose)
    if before is not None:
        statement = statement.where(tuple_(Trade.timestamp, Trade.id) < before)
    return statement.order_by(Trade.timestamp.desc(), Trade.id.desc()).limit(limit)


def daily_pnl(
    user_id: int, since: datetime, timezone: str = "UTC", *, until: datetime | None = None
) -> Select[date, str, Decimal | None]:
    """Select day, quote currency and realised pnl of a user, the latest day first.

    A day is one of the time zone's, such as ``Europe/Istanbul``; ``until`` is not included.
    Amounts in different currencies do not add up, so each has its own rows. The quote
    currency of a symbol without a slash is unknown: the symbol itself is returned.

    Raises:
        ValueError: The time zone is not a name of the IANA database. PostgreSQL would read
            ``+03:00`` or ``UTC+3`` in the POSIX way: three hours west of Greenwich.
    """
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not the name of a time zone, such as Europe/Istanbul") from None
    day = cast(func.timezone(timezone, Trade.timestamp), Date).label("day")
    quote = func.coalesce(
        func.nullif(func.split_part(Trade.symbol, "/", 2), ""), Trade.symbol
    ).label("quote")
    return (
        select(day, quote, func.sum(Trade.pnl).label("pnl"))
        .where(_of_user(user_id, since, until), Trade.pnl.is_not(None))
        .group_by(day, quote)
        .order_by(day.desc(), quote)
    )


def pnl_by_symbol(
    user_id: int, since: datetime, *, until: datetime | None = None
) -> Select[str, Decimal | None]:
    """Select symbol and realised pnl of a user since a time, in the symbol's quote currency."""
    return (
        select(Trade.symbol, func.sum(Trade.pnl).label("pnl"))
        .where(_of_user(user_id, since, until), Trade.pnl.is_not(None))
        .group_by(Trade.symbol)
        .order_by(Trade.symbol)
    )


def fees_by_asset(
    user_id: int, since: datetime, *, until: datetime | None = None
) -> Select[str | None, Decimal | None]:
    """Select currency and sum of a user's commissions since a time. Negative: rebates."""
    return (
        select(Trade.commission_asset, func.sum(Trade.commission_amount).label("amount"))
        .where(_of_user(user_id, since, until), Trade.commission_amount.is_not(None))
        .group_by(Trade.commission_asset)
        .order_by(Trade.commission_asset)
    )


def _of_user(user_id: int, since: datetime, until: datetime | None) -> ColumnElement[bool]:
    return and_(
        Trade.user_id == user_id,
        Trade.timestamp >= since,
        true() if until is None else Trade.timestamp < until,
    )
