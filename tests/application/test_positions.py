"""A position is opened once and closed once, despite repeated, killed or late workers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotState, Trade, queries
from models.queries import OrderConflictError, PositionError, Recorded
from tests.support import factories
from tests.support.locks import wait_for_blocked_sessions

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = NOON - timedelta(hours=12)
ONE, TWO = Decimal(1), Decimal(2)
BUY = {
    **factories.MINIMAL_ROWS["trades"],
    "binance_order_id": "BTCUSDT:1",
    "timestamp": NOON,
    "price": Decimal(100),
    "quantity_filled": TWO,
}
SELL = BUY | {
    "binance_order_id": "BTCUSDT:2",
    "side": "SELL",
    "timestamp": NOON + timedelta(hours=1),
    "pnl": Decimal("-7.5"),
}
NEXT_BUY = BUY | {"binance_order_id": "BTCUSDT:3", "timestamp": NOON + timedelta(hours=2)}

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
async def call(engine: AsyncEngine) -> Call:
    """Run one of the functions for a bot with id 1, in its own transaction."""
    async with AsyncSession(engine) as session, session.begin():
        session.add(factories.running_bot())
        await session.flush()
        session.add(factories.running_bot())

    async def call(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        if function in (queries.open_position, queries.close_position):
            options.setdefault("since", MIDNIGHT)
        async with AsyncSession(engine) as session, session.begin():
            return await function(session, *args, **options)

    return call


async def state(engine: AsyncEngine) -> Any:
    async with AsyncSession(engine) as session:
        return await session.get_one(BotState, 1)


async def row_versions(engine: AsyncEngine) -> list[Any]:
    """Return the versions of all rows that a trade may change."""
    async with AsyncSession(engine) as session:
        return [
            *await session.execute(text("SELECT ctid, bot_states FROM bot_states ORDER BY id")),
            *await session.execute(text("SELECT ctid, trades FROM trades ORDER BY id")),
        ]


def assert_flat(state: BotState) -> None:
    assert (state.in_position, state.entry_price) == (False, None)
    assert (state.current_position_size_coins, state.max_price_since_entry) == (None, None)
    stops = (state.stop_loss_price, state.take_profit_price, state.trailing_stop_price)
    assert stops == (None, None, None)


def day(state: Any) -> tuple[Any, int]:
    return state.daily_pnl, state.daily_trades_count


async def test_open_and_close(engine: AsyncEngine, call: Call) -> None:
    stops = {"stop_loss_price": ONE, "take_profit_price": TWO, "trailing_stop_price": Decimal(3)}
    opened = await call(queries.open_position, BUY, **stops)
    assert opened == Recorded(1, is_new=True, is_changed=True)
    held = await state(engine)
    assert (held.in_position, held.entry_price, held.max_price_since_entry) == (True, 100, 100)
    assert held.current_position_size_coins == 2
    assert {name: getattr(held, name) for name in stops} == stops
    assert day(held) == (0, 1)
    assert (await call(queries.close_position, SELL)).is_new
    assert_flat(await state(engine))
    assert day(await state(engine)) == (Decimal("-7.5"), 2)


async def test_loaded_states_are_updated(call: Call, session: AsyncSession) -> None:
    held: Any = await session.get_one(BotState, 1)
    await queries.open_position(session, BUY, since=MIDNIGHT)
    assert (held.in_position, held.entry_price) == (True, 100)
    await queries.close_position(session, SELL, since=MIDNIGHT)
    assert_flat(held)
    assert day(held) == (Decimal("-7.5"), 2)


@pytest.mark.parametrize("reserved_again", [False, True])
@pytest.mark.parametrize("opened_again", [False, True])
async def test_late_repeats_change_nothing(
    engine: AsyncEngine, call: Call, reserved_again: bool, opened_again: bool
) -> None:
    await call(queries.open_position, BUY)
    before = await row_versions(engine)
    assert not (await call(queries.open_position, BUY, stop_loss_price=ONE)).is_new
    assert await row_versions(engine) == before
    await call(queries.close_position, SELL)
    if reserved_again:
        await call(queries.reserve_entry, 1)
    if opened_again:
        await call(queries.open_position, NEXT_BUY)
    before = await row_versions(engine)
    for closed in (True, False):
        assert (await call(queries.open_position, BUY))[1:] == (False, False)
        assert (await call(queries.close_position, SELL, closed=closed))[1:] == (False, False)
    assert await row_versions(engine) == before


async def test_an_entry_that_is_filled_in_parts(engine: AsyncEngine, call: Call) -> None:
    """Reports come in any order; what was subtracted as a fee stays subtracted."""
    more = {"quantity_filled": Decimal(5), "price": Decimal(90)}
    await call(queries.open_position, BUY, stop_loss_price=ONE)
    await call(queries.close_position, SELL | {"quantity_filled": ONE}, closed=False)
    async with AsyncSession(engine) as session, session.begin():
        size = BotState.current_position_size_coins
        fee = Decimal("0.25")
        await session.execute(queries.tick(1, current_position_size_coins=size - fee))
    await call(queries.open_position, BUY | more)
    await call(queries.open_position, BUY | {"quantity_filled": Decimal(4)})
    held = await state(engine)
    assert (held.entry_price, held.current_position_size_coins) == (90, Decimal("3.75"))
    assert (held.stop_loss_price, held.daily_trades_count) == (1, 2)


async def test_an_exit_that_is_filled_in_parts(engine: AsyncEngine, call: Call) -> None:
    await call(queries.open_position, BUY)
    half = SELL | {"quantity_filled": ONE / 2, "pnl": ONE}
    for report in (half, half, SELL | {"quantity_filled": ONE, "pnl": TWO}, half):
        await call(queries.close_position, report, closed=False)
    held = await state(engine)
    assert (held.in_position, held.current_position_size_coins) == (True, 1)
    assert day(held) == (2, 2)
    # All but dust; and a pnl that is reported later.
    last = SELL | {"binance_order_id": "BTCUSDT:4", "quantity_filled": Decimal("0.9"), "pnl": None}
    await call(queries.close_position, last)
    assert_flat(await state(engine))
    await call(queries.close_position, last | {"pnl": Decimal(8)})
    assert day(await state(engine)) == (10, 3)
    await call(queries.close_position, last | {"pnl": Decimal(9)})
    assert day(await state(engine)) == (10, 3)


async def test_trades_of_other_days_do_not_count(engine: AsyncEngine, call: Call) -> None:
    before = {"timestamp": MIDNIGHT - timedelta(microseconds=1)}
    await call(queries.open_position, BUY | before)
    await call(queries.close_position, SELL | {"timestamp": MIDNIGHT})
    await call(queries.close_position, SELL | {"pnl": ONE, "quantity_filled": Decimal(3)})
    assert day(await state(engine)) == (1, 1)


async def test_the_day_begins_at_midnight_in_utc(engine: AsyncEngine, call: Call) -> None:
    async with AsyncSession(engine) as session:
        today = (
            await session.execute(text("SELECT date_trunc('day', now(), 'UTC')"))
        ).scalar_one()
    await call(
        queries.open_position, BUY | {"timestamp": today - timedelta(seconds=1)}, since=None
    )
    await call(queries.close_position, SELL | {"timestamp": today}, since=None)
    assert day(await state(engine)) == (Decimal("-7.5"), 1)


@pytest.mark.parametrize("reserved", [False, True])
async def test_disallowed_transitions(engine: AsyncEngine, call: Call, reserved: bool) -> None:
    if reserved:
        await call(queries.reserve_entry, 1)
    before = await row_versions(engine)
    # The transaction continues, and commits.
    async with AsyncSession(engine) as session, session.begin():
        with pytest.raises(PositionError, match="resolve" if reserved else "flat"):
            await queries.close_position(session, SELL)
    assert await row_versions(engine) == before
    await call(queries.open_position, BUY)
    before = await row_versions(engine)
    async with AsyncSession(engine) as session, session.begin():
        for other in (NEXT_BUY, NEXT_BUY | {"binance_order_id": None}):
            with pytest.raises(PositionError, match="another order"):
                await queries.open_position(session, other)
    assert await row_versions(engine) == before


@pytest.mark.parametrize(
    ("function", "values"),
    [(queries.open_position, SELL), (queries.close_position, BUY)],
)
async def test_the_wrong_side(call: Call, function: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"to (open|close) a position is a"):
        await call(function, values)


async def test_a_bot_without_a_state(engine: AsyncEngine, call: Call) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text("DELETE FROM bot_states"))
    assert not await call(queries.reserve_entry, 1)
    with pytest.raises(PositionError, match="bot 1 has no state"):
        await call(queries.open_position, BUY)


async def test_an_order_of_another_bot(call: Call) -> None:
    await call(queries.record_trade, BUY | {"bot_config_id": 2, "user_id": 2})
    with pytest.raises(OrderConflictError):
        await call(queries.open_position, BUY)


async def test_only_one_worker_reserves_an_entry(engine: AsyncEngine, call: Call) -> None:
    results = await asyncio.gather(*(call(queries.reserve_entry, 1) for _ in range(6)))
    assert sorted(results) == [False] * 5 + [True]
    reserved = await state(engine)
    assert (reserved.in_position, reserved.entry_price) == (True, None)
    await asyncio.gather(*(call(queries.open_position, BUY) for _ in range(6)))
    assert not await call(queries.reserve_entry, 1)
    held = await state(engine)
    assert (held.entry_price, held.current_position_size_coins) == (100, 2)
    await asyncio.gather(*(call(queries.close_position, SELL) for _ in range(6)))
    assert_flat(await state(engine))
    assert day(await state(engine)) == (Decimal("-7.5"), 2)


async def test_concurrent_entries_with_different_orders(engine: AsyncEngine, call: Call) -> None:
    orders = [BUY | {"binance_order_id": f"BTCUSDT:{number}"} for number in range(6)]
    results = await asyncio.gather(
        *(call(queries.open_position, order) for order in orders), return_exceptions=True
    )
    assert sorted(isinstance(result, PositionError) for result in results) == [False] + [True] * 5
    async with AsyncSession(engine) as session:
        assert await session.scalar(select(func.count()).select_from(Trade)) == 1


async def test_unresolved_entries(engine: AsyncEngine, call: Call, session: AsyncSession) -> None:
    await call(queries.reserve_entry, 1)
    (reserved,) = await session.scalars(queries.unresolved_entries())
    assert (reserved.id, reserved.config.symbol) == (1, "BTC/USDT")
    await session.commit()
    assert await call(queries.release_entry, 1)
    assert not await call(queries.release_entry, 1)
    assert_flat(await state(engine))
    assert (await session.scalars(queries.unresolved_entries())).all() == []
    await session.commit()
    await call(queries.open_position, BUY)
    assert not await call(queries.release_entry, 1), "the position is open"
    assert (await state(engine)).in_position
    assert (await session.scalars(queries.unresolved_entries())).all() == []


@pytest.mark.parametrize("first", [queries.record_trade, queries.record_trades])
async def test_a_trade_recorded_before(engine: AsyncEngine, call: Call, first: Any) -> None:
    """A reservation is filled, a position closed, and the day's result is correct."""

    async def record(values: dict[str, Any]) -> None:
        await call(first, values if first == queries.record_trade else [values])

    await call(queries.reserve_entry, 1)
    await record(BUY)
    assert not (await call(queries.open_position, BUY, stop_loss_price=ONE)).is_new
    held = await state(engine)
    assert (held.entry_price, held.current_position_size_coins) == (100, 2)
    assert (held.stop_loss_price, *day(held)) == (1, 0, 1)
    await record(SELL)
    assert not (await call(queries.close_position, SELL)).is_new
    assert_flat(await state(engine))
    assert day(await state(engine)) == (Decimal("-7.5"), 2)


async def test_a_position_that_was_imported_in_any_order(engine: AsyncEngine, call: Call) -> None:
    await call(queries.reserve_entry, 1)
    await call(queries.record_trades, [NEXT_BUY, SELL, BUY])
    await call(queries.open_position, BUY)
    assert (await state(engine)).entry_price is None, "the position is closed"
    await call(queries.open_position, NEXT_BUY)
    assert (await state(engine)).entry_price == 100
    await call(queries.close_position, SELL)
    assert (await state(engine)).in_position, "the exit belongs to the previous position"


async def test_a_worker_that_records_while_another_closes(engine: AsyncEngine, call: Call) -> None:
    """The session that locks the state locks the trade too: there is no deadlock."""
    await call(queries.open_position, BUY)
    async with AsyncSession(engine) as one, one.begin():
        await queries.record_trade(one, SELL)
        other = asyncio.ensure_future(call(queries.close_position, SELL))
        await wait_for_blocked_sessions(engine)
    assert not (await other).is_new
    assert_flat(await state(engine))
    assert day(await state(engine)) == (Decimal("-7.5"), 2)


async def test_stale_state_columns_do_not_survive_a_reservation(
    engine: AsyncEngine, call: Call
) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(update(BotState).values(entry_price=5, stop_loss_price=5))
    assert await call(queries.reserve_entry, 1)
    held = await state(engine)
    assert (held.in_position, held.entry_price, held.stop_loss_price) == (True, None, None)
