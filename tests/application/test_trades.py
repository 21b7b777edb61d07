"""A report changes the trade, the position and the day of its bot once, or is refused."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig, BotState, Trade, User, queries
from models.order_key import order_key
from models.queries import OrderConflictError, PositionError, Recorded
from models.trade import TradeValues
from tests.support import factories
from tests.support.locks import wait_for_blocked_sessions
from verification.content import content

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIDNIGHT = NOON - timedelta(hours=12)
DUST = Decimal("0.00001")
ONE, TWO = Decimal(1), Decimal(2)
BUY: Any = {
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
async def call(transact: Call) -> Call:
    """Run one of the functions for a bot with id 1 or 2, in its own transaction."""
    bots = [await transact(factories.add_bot) for _ in range(2)]
    assert [(bot.id, bot.user_id) for bot in bots] == [(1, 1), (2, 2)]
    return transact


@pytest.fixture
async def record(call: Call) -> Call:
    return lambda *reports: call(queries.record_trades, reports, dust=DUST, since=MIDNIGHT)


async def state(engine: AsyncEngine, bot: int = 1) -> Any:
    async with AsyncSession(engine) as session:
        return await session.get_one(BotState, bot)


async def position(engine: AsyncEngine) -> tuple[Any, ...]:
    """Return entry price and size; of a reserved entry, None and what is left."""
    held = await state(engine)
    assert held.in_position or held.entry_price is None
    return held.in_position, held.entry_price, held.current_position_size_coins


# Keys


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        *(
            ((symbol, order_id), "BTCUSDT:28")
            for symbol in ("BTC/USDT", "BTCUSDT", "btc/usdt", " BTC-USDT", "BTC_USDT")
            for order_id in (28, "28")
        ),
        (("btc/usdt", "28", "testnet-2026-11"), "testnet-2026-11:BTCUSDT:28"),
        (("币安人生/USDT", 2**53 + 1), "币安人生USDT:9007199254740993"),
        (("1000SATS/USDT", 1), "1000SATSUSDT:1"),
    ],
    ids=str,
)
def test_an_order_has_one_key(arguments: tuple[Any, ...], key: str) -> None:
    assert order_key(*arguments) == key


NO_KEYS: list[tuple[tuple[Any, ...], str]] = [
    *(
        (("BTC/USDT", order_id), "not an order id")
        for order_id in (None, True, 28.0, "nan", "028", -1, 0, "", " 28", "\uff12\uff18", b"28")
    ),
    *(
        ((symbol, 28), "not a symbol")
        for symbol in ("", " ", "/", "BTC/", "BTC/USDT:USDT", "BTC/USDT/X", 28, None)
    ),
    (("BTCUSDT", 28, "US"), "venue"),
    (("BTCUSDT", 28, ""), "venue"),
    (("B" * 64, 28), "64 characters"),
]


@pytest.mark.parametrize(("arguments", "message"), NO_KEYS, ids=str)
def test_what_makes_no_key(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order_key(*arguments)


# Values

MISSING = ...


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({name: MISSING}, f"missing: {name}") for name in sorted(TradeValues.__required_keys__)),
        ({"quantity_filled": Decimal(0)}, "no trade"),
        ({"quantity_filled": Decimal("1e-19")}, "no trade"),
        ({"comission_amount": ONE}, "unknown names: comission_amount"),
        *(
            ({name: 0.3}, f"{name} is of type float")
            for name in ("price", "quantity_filled", "pnl")
        ),
        ({"price": True}, "price is of type bool"),
        ({"price": "64000.12"}, "price is of type str"),
        ({"price": Decimal("NaN")}, "price is out of range"),
        ({"pnl": Decimal("1e20")}, "pnl is out of range"),
        ({"quote_quantity_filled": Decimal(-1)}, "quote_quantity_filled is negative"),
        ({"commission_amount": ONE}, "commission_amount needs its commission_asset"),
        ({"commission_asset": "B" * 33, "commission_amount": ONE}, "commission_asset"),
        ({"order_type": "market"}, "order_type"),
        ({"order_type": "A\0"}, "order_type contains a NUL"),
        ({"side": "buy"}, "side is not BUY or SELL"),
        ({"symbol": "BTC/USDT:USDT"}, "not a symbol"),
        ({"timestamp": NOON.replace(tzinfo=None)}, "timestamp"),
        ({"timestamp": date(2026, 11, 24)}, "timestamp"),
        ({"timestamp": None}, "timestamp"),
        ({"bot_config_id": "1"}, "bot_config_id is not an id"),
        ({"user_id": 2**31}, "user_id is not an id"),
        ({"binance_order_id": 28}, "not made by order_key"),
        ({"binance_order_id": "28"}, "not made by order_key"),
        ({"binance_order_id": "BTCUSDT:028"}, "not an order id"),
        ({"binance_order_id": "ETHUSDT:28"}, "another symbol"),
    ],
    ids=str,
)
async def test_wrong_values_are_refused_before_anything_is_sent(
    changes: dict[str, Any], message: str
) -> None:
    values: Any = {k: v for k, v in (BUY | changes).items() if v is not MISSING}
    session = AsyncSession()
    with pytest.raises(ValueError, match=message) as error:
        await queries.record_trades(session, [BUY, values], dust=DUST)
    assert str(error.value).startswith("row 1: ")
    assert not session.in_transaction()


@pytest.mark.parametrize("dust", [0.00001, Decimal("NaN"), {"ETH/USDT": DUST}])
async def test_wrong_dust_is_refused(dust: Any) -> None:
    with pytest.raises(ValueError, match="dust"):
        await queries.record_trade(AsyncSession(), BUY, dust=dust)


def test_a_column_that_callers_do_not_know_gets_its_default() -> None:
    """What is written are the columns of TradeValues; those that may be left out accept NULL."""
    assert all(Trade.__table__.c[name].nullable for name in TradeValues.__optional_keys__)


@pytest.mark.parametrize("changes", [{"bot_config_id": 9}, {"user_id": 2}])
async def test_there_is_no_such_bot(database: str, record: Call, changes: dict[str, Any]) -> None:
    with pytest.raises(PositionError, match="no such bot"):
        await record(BUY | changes)
    assert content(database)["trades"] == {}


# The trade


async def test_a_new_order_takes_three_statements(record: Call, statements: list[str]) -> None:
    assert await record(BUY) == [Recorded(1, is_new=True, is_changed=True)]
    assert [statement.split()[0] for statement in statements] == ["SELECT", "WITH", "WITH"]


FEE = {"commission_amount": Decimal("0.1"), "commission_asset": "BNB"}
SMALLER = {"quantity_filled": ONE, "price": Decimal(90)}


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": NOON + timedelta(milliseconds=1)},
        {"symbol": "BTCUSDT", "binance_order_id": "BTC/USDT:1"},
        {"price": Decimal(99)},
        SMALLER | {"pnl": ONE, "commission_amount": Decimal(9)},
        {"commission_amount": Decimal("0.01")},
        {"commission_amount": None, "commission_asset": None, "pnl": None},
        {"pnl": Decimal(6)},
    ],
    ids=str,
)
async def test_a_redundant_report_writes_nothing(
    database: str, record: Call, changes: dict[str, Any]
) -> None:
    # The database rounds the thirds.
    first = BUY | FEE | {"price": Decimal(299) / 3, "pnl": Decimal(5)}
    await record(first)
    before = content(database, versions=True)
    assert await record(first | changes) == [Recorded(1, is_new=False, is_changed=False)]
    assert content(database, versions=True) == before


@pytest.mark.parametrize("changes", [{"bot_config_id": 2, "user_id": 2}, {"side": "SELL"}])
@pytest.mark.parametrize("in_bulk", [False, True])
async def test_another_order_with_the_same_key(
    database: str, session: AsyncSession, record: Call, changes: dict[str, Any], in_bulk: bool
) -> None:
    await record(BUY)
    before = content(database, versions=True)
    rows: list[Any] = [NEXT_BUY, BUY | changes][not in_bulk :]
    with pytest.raises(OrderConflictError) as caught:
        await queries.record_trades(session, rows, dust=DUST)
    await session.commit()
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert (error.trade_id, error.columns) == (1, list(changes))
        assert str(error) == f"trade 1 has this order id, but other {', '.join(changes)}"
    assert content(database, versions=True) == before, (
        "all rows or none, and the transaction continues"
    )


async def test_trades_on_paper_are_always_new(engine: AsyncEngine, record: Call) -> None:
    paper = BUY | {"binance_order_id": None}
    assert [result.is_new for result in await record(paper, paper, SELL)] == [True, True, True]
    assert await position(engine) == (True, 100, 2)


async def test_importing_in_bulk(
    engine: AsyncEngine, database: str, record: Call, statements: list[str]
) -> None:
    keys = [f"BTCUSDT:{number}" for number in range(1000, 3000)]
    *results, again = await record(*[BUY | {"binance_order_id": key} for key in (*keys, keys[0])])
    assert again == results[0]._replace(is_new=False, is_changed=False)
    assert len(statements) < 20, "in batches"
    stored = content(database)["trades"].values()
    trades = {trade["id"]: trade["binance_order_id"] for trade in stored}
    assert [trades[result.trade_id] for result in results] == keys
    assert await position(engine) == (True, 100, 4000)
    assert await record() == []


# The position


async def test_a_position_keeps_its_prices_until_it_ends(
    engine: AsyncEngine, call: Call, record: Call
) -> None:
    prices = {"stop_loss_price": ONE, "max_price_since_entry": Decimal(300)}
    assert await call(queries.reserve_entry, 1)
    assert await position(engine) == (True, None, None)
    await record(BUY | SMALLER)
    assert await position(engine) == (True, 90, 1)
    await call(queries.tick, 1, **prices)
    await record(BUY, NEXT_BUY | {"price": Decimal(80)})
    assert await position(engine) == (True, 90, 4)
    held = await state(engine)
    assert {name: getattr(held, name) for name in prices} == prices
    last = NEXT_BUY["timestamp"] + timedelta(hours=1)
    await record(SELL | {"timestamp": last, "quantity_filled": 2 * TWO - DUST})
    assert await position(engine) == (False, None, DUST)
    left = await state(engine)
    assert {getattr(left, name) for name in prices} == {None}


@pytest.mark.parametrize("symbol", ["BNB/USDT", "BNBUSDT"])
async def test_a_fee_in_bnb_of_a_bot_for_bnb(
    engine: AsyncEngine, call: Call, record: Call, symbol: str
) -> None:
    await call(AsyncSession.execute, update(BotConfig).values(symbol="BNB/USDT"))
    market = {"symbol": symbol}
    await record(BUY | market | FEE | {"binance_order_id": "BNBUSDT:1"})
    await record(SELL | market | FEE | {"binance_order_id": "BNBUSDT:2", "quantity_filled": ONE})
    assert await position(engine) == (True, 100, Decimal("0.8"))


async def test_an_order_for_another_symbol_is_no_part_of_the_position(
    engine: AsyncEngine, record: Call
) -> None:
    await record(BUY, BUY | {"symbol": "ETH/USDT", "binance_order_id": "ETHUSDT:1"})
    assert await position(engine) == (True, 100, 2)
    assert (await state(engine)).daily_trades_count == 2


async def test_another_position_has_its_own_prices(
    engine: AsyncEngine, call: Call, record: Call
) -> None:
    """A backup has one position; the history ends it and begins another."""
    await record(BUY)
    await call(queries.tick, 1, stop_loss_price=ONE, max_price_since_entry=Decimal(999))
    await record(SELL, NEXT_BUY | {"price": Decimal(110)})
    held = await state(engine)
    assert await position(engine) == (True, 110, 2)
    assert (held.stop_loss_price, held.max_price_since_entry) == (None, 110)
    assert (held.daily_pnl, held.daily_trades_count) == (Decimal("-7.5"), 3)


async def test_the_day_begins_at_midnight_in_utc(engine: AsyncEngine, call: Call) -> None:
    """By default; and dust may be given by symbol."""
    today = await call(AsyncSession.scalar, text("SELECT date_trunc('day', now(), 'UTC')"))
    yesterday = BUY | {"timestamp": today - timedelta(microseconds=1)}
    trades = [yesterday, SELL | {"timestamp": today, "quantity_filled": ONE}]
    await call(queries.record_trades, trades, dust={"ETHUSDT": DUST, "BTC/USDT": ONE})
    day = await state(engine)
    assert (day.daily_pnl, day.daily_trades_count) == (Decimal("-7.5"), 1)
    assert await position(engine) == (False, None, 1)


async def test_loaded_states_are_refreshed(call: Call, session: AsyncSession) -> None:
    held: Any = await session.get_one(BotState, 1)
    await queries.record_trade(session, BUY, dust=DUST, since=MIDNIGHT)
    assert (held.in_position, held.entry_price, held.daily_trades_count) == (True, 100, 1)
    await queries.tick(session, 1, stop_loss_price=ONE)
    assert held.stop_loss_price == 1


async def test_rebuilding_positions(engine: AsyncEngine, call: Call, record: Call) -> None:
    """Also from trades that were written by SQL, of one bot only."""
    await record(BUY, SELL, NEXT_BUY)
    before = await state(engine)
    values = {"in_position": False, "entry_price": None, "current_position_size_coins": None}
    await call(AsyncSession.execute, update(BotState).values(**values, daily_trades_count=9))
    await call(queries.rebuild_positions, {1: DUST}, since=MIDNIGHT)
    after = await state(engine)
    names = {*BotState.__table__.c.keys()} - {"last_updated_at"}
    assert {n: getattr(after, n) for n in names} == {n: getattr(before, n) for n in names}
    assert (await state(engine, 2)).daily_trades_count == 9


# Reservations


async def test_only_one_worker_reserves_an_entry(call: Call) -> None:
    results = await asyncio.gather(*(call(queries.reserve_entry, 1) for _ in range(6)))
    assert sorted(results) == [False] * 5 + [True]


async def test_a_reservation_is_released_unless_it_is_filled(
    engine: AsyncEngine, session: AsyncSession, call: Call, record: Call
) -> None:
    await record(BUY, SELL | {"quantity_filled": TWO - DUST})
    assert await call(queries.reserve_entry, 1)
    (reserved,) = await session.scalars(queries.unresolved_entries())
    assert (reserved.id, reserved.config.symbol) == (1, "BTC/USDT")
    await record(SELL)
    assert await position(engine) == (True, None, None), "a late report does not end it"
    steps = (queries.release_entry, queries.release_entry, queries.reserve_entry)
    assert [await call(step, 1) for step in steps] == [True, False, True]
    await record(NEXT_BUY)
    # The position is open.
    assert [await call(step, 1) for step in steps] == [False, False, False]
    assert await position(engine) == (True, 100, 2)
    assert (await session.scalars(queries.unresolved_entries())).all() == []


MAY_NOT_TRADE: dict[str, Any] = {
    "status stopped": update(BotState).values(status="stopped"),
    "status error": update(BotState).values(status="error"),
    "bot switched off": update(BotConfig).values(is_active=False),
    "owner inactive": update(User).values(is_active=False),
}


@pytest.mark.parametrize("reason", MAY_NOT_TRADE)
async def test_no_entry_is_reserved(call: Call, reason: str) -> None:
    await call(AsyncSession.execute, MAY_NOT_TRADE[reason])
    assert not await call(queries.reserve_entry, 1)


@pytest.mark.parametrize("stop", [queries.stop_bot, queries.forget_user])
async def test_no_entry_is_reserved_after_a_stop_at_the_same_time(
    engine: AsyncEngine, call: Call, stop: Any
) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await stop(session, 1)
        reserving = asyncio.ensure_future(call(queries.reserve_entry, 1))
        await wait_for_blocked_sessions(engine)
    assert not await reserving


async def test_a_bot_without_a_state_cannot_enter(
    engine: AsyncEngine, call: Call, record: Call
) -> None:
    """Its trades are recorded nevertheless, and add one."""
    await call(AsyncSession.execute, text("DELETE FROM bot_states"))
    with pytest.raises(PositionError, match="bot 1 has no state"):
        await call(queries.reserve_entry, 1)
    await record(BUY)
    assert await position(engine) == (True, 100, 2)


# Workers at the same time


async def test_imports_of_the_same_orders_do_not_deadlock(
    engine: AsyncEngine, database: str, record: Call
) -> None:
    rows = [
        BUY
        | {"binance_order_id": f"BTCUSDT:{number}", "quantity_filled": Decimal(quantity)}
        | {"bot_config_id": 1 + number % 2, "user_id": 1 + number % 2}
        for quantity in range(1, 4)
        for number in range(10, 30)
    ]

    async def work(worker: int) -> None:
        for batch in (rows[worker::2], rows[::-1], rows[worker:] + rows[:worker]):
            await record(*batch)

    await asyncio.gather(*map(work, range(4)))
    trades = content(database)["trades"].values()
    assert [trade["quantity_filled"] for trade in trades] == [3] * 20
    assert await position(engine) == (True, 100, 30)
