"""Entering and leaving positions; safe to repeat, after a crash, and from several workers.

**Order of locks**, everywhere: first the state of the bot, of several in the order of their ids,
then the trade. A transaction that records a trade before it changes the bot's state, or changes
the states of several bots in another order, may deadlock with another worker. So may one that
deletes a bot without holding its lease: the cascade locks the state last.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, contains_eager
from sqlalchemy.sql.dml import ReturningUpdate

from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import Side
from models.queries.days import midnight, recompute_days
from models.queries.orders import Recorded, plain_key, record_trade
from models.trade import Trade

_VERBS = {Side.BUY: "open", Side.SELL: "close"}
_NO_POSITION: dict[str, Any] = {
    "entry_price": None,
    "current_position_size_coins": None,
    "trailing_stop_price": None,
    "max_price_since_entry": None,
    "take_profit_price": None,
    "stop_loss_price": None,
}


class PositionError(Exception):
    """The bot's state does not allow the operation. Nothing is changed."""


class _State(NamedTuple):
    id: int
    in_position: bool
    is_open: bool
    """If False and ``in_position``, an entry is reserved."""
    since: datetime

    @property
    def bot(self) -> str:
        return f"bot {self.id}"


class _Before(NamedTuple):
    """A trade before a report was recorded."""

    quantity: Decimal
    pnl: Decimal
    is_before_an_entry: bool
    is_before_an_exit: bool


_NOTHING = _Before(Decimal(0), Decimal(0), is_before_an_entry=False, is_before_an_exit=False)


async def reserve_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """Reserve the entry of a flat bot; return whether it was flat, so whether to send the order.

    If several workers try, one gets True. Commit before sending the order, whose client order id
    should be derived from the bot and the run; then call :func:`open_position`, or
    :func:`release_entry` if the exchange refused the order. :func:`unresolved_entries` selects
    the entries of workers that crashed in between.
    """
    is_flat = BotState.in_position.is_(False)
    changed = await session.scalars(
        change(bot_config_id, {"in_position": True, **_NO_POSITION}, is_flat)
    )
    return bool(changed.all())


async def release_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """Cancel a reserved entry; return whether there was one.

    An open position is not changed, and a repeat does nothing.
    """
    changed = await session.scalars(change(bot_config_id, {"in_position": False}, _is_reserved()))
    return bool(changed.all())


def unresolved_entries() -> Select[BotState]:
    """Select the states with a reserved entry, each with its ``config``, by id.

    They are in position without an entry price. Some may belong to a worker that is still
    running, so resolve one while holding its :func:`~models.queries.bot_lease`: query the
    exchange by client order id, then call :func:`open_position` or :func:`release_entry`.
    """
    return _with_config().where(_is_reserved())


def positions_of_user(user_id: int) -> Select[BotState]:
    """Select the states of a user's bots that are in position, each with its ``config``, by id."""
    return _with_config().where(BotConfig.user_id == user_id, BotState.in_position)


def _with_config() -> Select[BotState]:
    return (
        select(BotState)
        .join(BotState.config)
        .options(contains_eager(BotState.config))
        .order_by(BotState.id)
        .execution_options(populate_existing=True)
    )


def _is_reserved() -> ColumnElement[bool]:
    return BotState.in_position & BotState.entry_price.is_(None)


async def open_position(
    session: AsyncSession,
    values: Mapping[str, Any],
    *,
    stop_loss_price: Decimal | None = None,
    take_profit_price: Decimal | None = None,
    trailing_stop_price: Decimal | None = None,
    since: datetime | None = None,
) -> Recorded:
    """Record a BUY as :func:`~models.queries.record_trade` does, and enter the position with it.

    A new order opens the position of a bot that is flat or has reserved the entry: entry and
    highest price are its price, the size is its ``quantity_filled``. Later reports of the same
    order increase the position by the quantity that they add to the trade: so pass all of them to
    this function, since a quantity that :func:`~models.queries.record_trade` added is not
    included in the size. A repeat changes nothing, even after the position was closed. A reserved
    entry is also filled by an order that :func:`~models.queries.record_trade` or an import has
    recorded first, as long as it is the bot's latest trade; so reserve the entry where that may
    happen: for a flat bot, an order that is already recorded is a repeat.

    If the exchange takes the fee in coins, the caller subtracts it from the size, once, in the
    same transaction, and in SQL: ``size = BotState.current_position_size_coins``, then
    ``tick(bot_config_id, current_position_size_coins=size - fee)``.

    Args:
        session: The caller commits its transaction, and rolls it back after an error.
        values: The report, as for :func:`~models.queries.record_trade`.
        stop_loss_price: In quote currency for one coin, as the other two.
        take_profit_price: Price at which to sell with profit.
        trailing_stop_price: Where the trailing stop begins.
        since: Start of the day of ``daily_pnl`` and ``daily_trades_count``, by default midnight
            in UTC. An earlier trade is not counted.

    Raises:
        PositionError: Another order has opened the bot's position, or it has no state.
        OrderConflictError: The key is taken by another order.
        ValueError: It is not a BUY.
    """
    state = await _lock_state(session, values, Side.BUY, since)
    existing = await _lock_trade(session, values)
    if state.is_open and existing is None:
        raise PositionError(f"{state.bot} is in a position that another order has opened")
    recorded, before = await _record(session, values, existing)
    position: dict[str, Any] = {}
    if state.is_open:
        if recorded.is_changed and not before.is_before_an_entry:
            added = Trade.quantity_filled - before.quantity
            position = {
                "entry_price": case((added > 0, Trade.price), else_=BotState.entry_price),
                "current_position_size_coins": BotState.current_position_size_coins + added,
            }
    elif recorded.is_new or (
        state.in_position and not (before.is_before_an_entry or before.is_before_an_exit)
    ):
        position = {
            "in_position": True,
            "entry_price": Trade.price,
            "max_price_since_entry": Trade.price,
            "current_position_size_coins": Trade.quantity_filled,
            "stop_loss_price": stop_loss_price,
            "take_profit_price": take_profit_price,
            "trailing_stop_price": trailing_stop_price,
        }
    await _change(session, state, recorded, before, position, begins_or_ends=not state.is_open)
    return recorded


async def close_position(
    session: AsyncSession,
    values: Mapping[str, Any],
    *,
    closed: bool = True,
    since: datetime | None = None,
) -> Recorded:
    """Record a SELL as :func:`~models.queries.record_trade` does, and leave the position with it.

    ``daily_pnl`` increases by the trade's pnl, including what a later report adds to it;
    ``daily_trades_count`` by one for each order. A repeat changes nothing, even after the next
    position was opened. A position is also closed by an order that
    :func:`~models.queries.record_trade` or an import has recorded first; the day is then
    recomputed from the trades, since the order may or may not have been counted. An order that is
    not recorded yet is assumed to exit the current position; record one that belongs to an
    earlier position with :func:`~models.queries.record_trade`.

    Args:
        session: The caller commits its transaction, and rolls it back after an error.
        values: The report, as for :func:`~models.queries.record_trade`.
        closed: Whether the position ends, even if dust remains. If not, its size is reduced by
            the quantity that the order has filled.
        since: Start of the day, as for :func:`open_position`.

    Raises:
        PositionError: The bot is flat, or its entry is only reserved, or it has no state. Record
            a SELL outside of a position with :func:`~models.queries.record_trade`.
        OrderConflictError: The key is taken by another order.
        ValueError: It is not a SELL.
    """
    state = await _lock_state(session, values, Side.SELL, since)
    existing = await _lock_trade(session, values)
    if not state.is_open and existing is None:
        status = "has a reserved entry: resolve it first" if state.in_position else "is flat"
        raise PositionError(f"{state.bot} {status}")
    recorded, before = await _record(session, values, existing)
    position: dict[str, Any] = {}
    if state.is_open and not before.is_before_an_entry:
        if closed:
            position = {"in_position": False, **_NO_POSITION}
        elif recorded.is_changed:
            size = BotState.current_position_size_coins
            position = {size.key: size - (Trade.quantity_filled - before.quantity)}
    await _change(session, state, recorded, before, position, begins_or_ends=closed)
    return recorded


async def _lock_state(
    session: AsyncSession, values: Mapping[str, Any], side: Side, since: datetime | None
) -> _State:
    if values["side"] != side:
        raise ValueError(f"an order to {_VERBS[side]} a position is a {side}")
    bot = values["bot_config_id"]
    rows = await session.execute(
        select(
            BotState.id,
            BotState.in_position,
            and_(BotState.in_position, BotState.entry_price.is_not(None)),
            midnight(since),
        )
        .where(BotState.id == bot)
        .with_for_update(key_share=True)
    )
    state = rows.one_or_none()
    if state is None:
        raise PositionError(f"bot {bot} has no state")
    return _State(*state)


async def _lock_trade(session: AsyncSession, values: Mapping[str, Any]) -> _Before | None:
    key = values.get("binance_order_id")
    if key is None:
        return None
    trade = (await session.execute(lock_trade(key))).one_or_none()
    return None if trade is None else _Before(*trade)


def lock_trade(key: str) -> Select[Decimal, Decimal, bool, bool]:
    """Select and lock an order's trade, and whether an entry, or an exit, is later."""
    return (
        select(
            Trade.quantity_filled,
            func.coalesce(Trade.pnl, Decimal(0)),
            _is_before(Side.BUY),
            _is_before(Side.SELL),
        )
        .where(Trade.binance_order_id == plain_key(key))
        .with_for_update(key_share=True)
    )


def _is_before(side: Side) -> ColumnElement[bool]:
    later = aliased(Trade)
    return exists().where(
        later.bot_config_id == Trade.bot_config_id,
        later.side == side,
        tuple_(later.timestamp, later.id) > tuple_(Trade.timestamp, Trade.id),
    )


async def _record(
    session: AsyncSession, values: Mapping[str, Any], existing: _Before | None
) -> tuple[Recorded, _Before]:
    """Record a report, and return the trade before it, which may be another session's."""
    recorded = await record_trade(session, values)
    if existing is None and not recorded.is_new:
        existing = await _lock_trade(session, values)
    return recorded, existing or _NOTHING


async def _change(
    session: AsyncSession,
    state: _State,
    recorded: Recorded,
    before: _Before,
    position: dict[str, Any],
    *,
    begins_or_ends: bool,
) -> None:
    """Update the position and the day after a report."""
    if not (position or recorded.is_changed):
        return
    # Whether an order that was already recorded is counted depends on when the day was
    # refreshed, so recompute it.
    recount = bool(position) and begins_or_ends and not recorded.is_new
    counts = Trade.timestamp >= state.since
    day = {
        "daily_pnl": BotState.daily_pnl
        + case((counts, func.coalesce(Trade.pnl, Decimal(0)) - before.pnl), else_=Decimal(0)),
        "daily_trades_count": BotState.daily_trades_count
        + case((counts, int(recorded.is_new)), else_=0),
    }
    await session.scalars(
        change(
            state.id,
            position if recount else position | day,
            BotState.id == Trade.bot_config_id,
            Trade.id == recorded.trade_id,
        )
    )
    if recount:
        await session.scalars(recompute_days([state.id], state.since))


def change(
    bot_config_id: int, values: Mapping[str, Any], *conditions: ColumnElement[bool]
) -> ReturningUpdate[BotState]:
    """Update a state, and return it; one that the session has loaded gets the new values too."""
    return (
        update(BotState)
        .where(BotState.id == bot_config_id, *conditions)
        .values(**values)
        .returning(BotState)
        .execution_options(populate_existing=True)
    )
