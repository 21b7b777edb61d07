"""Entering and leaving positions, safe under repeats, crashes and several workers.

**Order of locks**, everywhere: first the state of the bot, of several in the order of their ids,
then the trade. Who records a trade and then changes the bot's state in one transaction, or the
states of several bots in another order, may deadlock with another worker. So may who deletes a
bot without holding its lease: the cascade locks its state last.
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
    """The bot's state does not allow it. Nothing was changed."""


class _State(NamedTuple):
    id: int
    in_position: bool
    is_open: bool
    """Else, where it is in position, an entry is reserved."""
    since: datetime

    @property
    def bot(self) -> str:
        return f"bot {self.id}"


class _Before(NamedTuple):
    """A trade as it was before a report."""

    quantity: Decimal
    pnl: Decimal
    is_before_an_entry: bool
    is_before_an_exit: bool


_NOTHING = _Before(Decimal(0), Decimal(0), is_before_an_entry=False, is_before_an_exit=False)


async def reserve_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """Reserve the entry of a flat bot; return whether it was flat, so whether to send the order.

    Of many workers, one gets true. Commit before the order is sent, with a client order id that
    is derived from the bot and the run; then :func:`open_position`, or :func:`release_entry` if
    the exchange refused it. What a worker leaves behind that dies in between is among
    :func:`unresolved_entries`.
    """
    is_flat = BotState.in_position.is_(False)
    changed = await session.scalars(
        change(bot_config_id, {"in_position": True, **_NO_POSITION}, is_flat)
    )
    return bool(changed.all())


async def release_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """Give up a reserved entry; return whether there was one.

    A position that is open stays so, and a repeat does nothing.
    """
    changed = await session.scalars(change(bot_config_id, {"in_position": False}, _is_reserved()))
    return bool(changed.all())


def unresolved_entries() -> Select[BotState]:
    """Select the states with a reserved entry, each with its ``config``, by id.

    They are in position without an entry price. Some have just been reserved by a worker that
    goes on, so settle one while holding its :func:`~models.queries.bot_lease`: ask the exchange
    for the client order id, then :func:`open_position` or :func:`release_entry`.
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
    order let the position grow, by what they add to what is recorded: so pass all of them to this
    function, since what :func:`~models.queries.record_trade` adds is not in the size. A repeat
    changes nothing, also after the position was closed. A reservation is also filled by an order
    that :func:`~models.queries.record_trade` or an import has recorded first, as long as it is the
    bot's latest trade; so reserve where that may happen, since to a flat bot an order that is
    recorded already is a repeat.

    A fee that the exchange takes in coins is the caller's to subtract from the size, once, in the
    same transaction, and in SQL: ``size = BotState.current_position_size_coins``, then
    ``tick(bot_config_id, current_position_size_coins=size - fee)``.

    Args:
        session: Its transaction is the caller's, who commits, and rolls back after an error.
        values: The report, as for :func:`~models.queries.record_trade`.
        stop_loss_price: In quote currency for one coin, as the other two.
        take_profit_price: Price at which to sell with profit.
        trailing_stop_price: Where the trailing stop begins.
        since: When the day began that ``daily_pnl`` and ``daily_trades_count`` are about; by
            default at today's midnight in UTC. An earlier trade is not counted.

    Raises:
        PositionError: Another order has opened the bot's position, or it has no state.
        OrderConflictError: The key is taken by another order.
        ValueError: It is not a BUY.
    """
    state = await _lock_state(session, values, Side.BUY, since)
    known = await _lock_trade(session, values)
    if state.is_open and known is None:
        raise PositionError(f"{state.bot} is in a position that another order has opened")
    recorded, before = await _record(session, values, known)
    position: dict[str, Any] = {}
    if state.is_open:
        if recorded.is_changed and not before.is_before_an_entry:
            grown = Trade.quantity_filled - before.quantity
            position = {
                "entry_price": case((grown > 0, Trade.price), else_=BotState.entry_price),
                "current_position_size_coins": BotState.current_position_size_coins + grown,
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

    ``daily_pnl`` grows by the trade's pnl, and by what a later report adds to it;
    ``daily_trades_count`` by one for each order. A repeat changes nothing, also after the next
    position was opened. A position is also closed by an order that
    :func:`~models.queries.record_trade` or an import has recorded first; the day is then
    recomputed from the trades, since it is not known whether the order is counted. An order that
    is not recorded yet is taken for an exit of the present position; one that belongs to an
    earlier position is for :func:`~models.queries.record_trade`.

    Args:
        session: Its transaction is the caller's, who commits, and rolls back after an error.
        values: The report, as for :func:`~models.queries.record_trade`.
        closed: Whether the position ends, whatever dust is left of it. If not, the size shrinks
            by what the order has filled, once.
        since: When the day began, as for :func:`open_position`.

    Raises:
        PositionError: The bot is flat, or its entry is only reserved, or it has no state. Record
            a SELL that has nothing to do with a position by
            :func:`~models.queries.record_trade`.
        OrderConflictError: The key is taken by another order.
        ValueError: It is not a SELL.
    """
    state = await _lock_state(session, values, Side.SELL, since)
    known = await _lock_trade(session, values)
    if not state.is_open and known is None:
        what = (
            "has reserved an entry, which is to be settled first"
            if state.in_position
            else "is flat"
        )
        raise PositionError(f"{state.bot} {what}")
    recorded, before = await _record(session, values, known)
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
    found = await session.execute(
        select(
            BotState.id,
            BotState.in_position,
            and_(BotState.in_position, BotState.entry_price.is_not(None)),
            midnight(since),
        )
        .where(BotState.id == bot)
        .with_for_update(key_share=True)
    )
    state = found.one_or_none()
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
    """Select and lock what is known of an order, and whether an entry, or an exit, came after."""
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
    session: AsyncSession, values: Mapping[str, Any], known: _Before | None
) -> tuple[Recorded, _Before]:
    """Record a report; return what was known before, which somebody may have added meanwhile."""
    recorded = await record_trade(session, values)
    if known is None and not recorded.is_new:
        known = await _lock_trade(session, values)
    return recorded, known or _NOTHING


async def _change(
    session: AsyncSession,
    state: _State,
    recorded: Recorded,
    before: _Before,
    position: dict[str, Any],
    *,
    begins_or_ends: bool,
) -> None:
    """Write what a report changes about the position and the day."""
    if not (position or recorded.is_changed):
        return
    # Whether an order that was recorded by others is counted depends on when the day was
    # refreshed, so it is recomputed.
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
