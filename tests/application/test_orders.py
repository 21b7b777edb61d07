"""An order is recorded once, regardless of the number, order and content of its reports."""

import asyncio
import itertools
import pickle
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import Trade, queries
from models.queries import OrderConflictError, Recorded, order_key
from tests.support import factories

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORDER = {**factories.MINIMAL_ROWS["trades"], "binance_order_id": "BTCUSDT:28", "timestamp": NOON}
ONE, TWO = Decimal(1), Decimal(2)

Record = Callable[..., Awaitable[Recorded]]


@pytest.fixture
async def record(engine: AsyncEngine) -> Record:
    """Record a report about an order of a bot with id 1, in its own transaction."""
    async with AsyncSession(engine) as session, session.begin():
        for number in (1, 2):
            bot = factories.running_bot()
            session.add(bot)
            await session.flush()
            assert (bot.id, bot.user_id) == (number, number)

    async def record(**changes: Any) -> Recorded:
        async with AsyncSession(engine) as session, session.begin():
            return await queries.record_trade(session, ORDER | changes)

    return record


@pytest.fixture
def statements(engine: AsyncEngine) -> list[str]:
    """The statements that are sent from now on."""
    sent: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


async def stored(engine: AsyncEngine) -> list[dict[str, Any]]:
    async with AsyncSession(engine) as session:
        rows = await session.execute(select(Trade.__table__).order_by(Trade.id))
        return [dict(row) for row in rows.mappings()]


async def versions(engine: AsyncEngine) -> list[Any]:
    """Return the versions of the rows, which change with each write."""
    async with AsyncSession(engine) as session:
        return list(await session.execute(text("SELECT ctid, xmin FROM trades")))


@pytest.mark.parametrize(
    ("symbol", "order_id"), [("BTC/USDT", 28), ("BTCUSDT", 28), ("BTC/USDT", "28")]
)
def test_order_key(symbol: str, order_id: int | str) -> None:
    assert order_key(symbol, order_id) == "BTCUSDT:28"


@pytest.mark.parametrize(
    ("symbol", "order_id"), [("", 28), ("/", 28), ("BTC/", 28), (" ", 28), ("BTC/USDT", "")]
)
def test_an_order_key_needs_both_parts(symbol: str, order_id: int | str) -> None:
    with pytest.raises(ValueError, match="empty"):
        order_key(symbol, order_id)


async def test_a_new_order_takes_one_round_trip(record: Record, statements: list[str]) -> None:
    trade_id, is_new, is_changed = await record()
    assert (is_new, is_changed, len(statements)) == (True, True, 1)
    assert await record() == (trade_id, False, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": NOON + timedelta(milliseconds=1)},
        {"symbol": "BTCUSDT"},
        {"binance_order_id": "BTC/USDT:28"},
        {"order_type": "LIMIT"},
        {"price": Decimal(1)},
        {"quantity_filled": Decimal(1) / 2, "price": Decimal(1), "pnl": Decimal(1)},
        {"quantity_filled": Decimal(1) / 2, "commission_amount": Decimal(9)},
        {"commission_amount": Decimal("0.1")},
        {"commission_amount": Decimal("-0.2"), "commission_asset": "USDT"},
        {"commission_amount": None, "commission_asset": None, "pnl": None},
        {"pnl": Decimal(6)},
    ],
    ids=str,
)
async def test_a_redundant_report_writes_nothing(
    engine: AsyncEngine, record: Record, changes: dict[str, Any]
) -> None:
    # The database rounds the thirds.
    first: dict[str, Any] = {
        "quantity_filled": Decimal(4) / 3,
        "price": Decimal(2) / 3,
        "pnl": Decimal(5),
        "commission_amount": Decimal(1) / 3,
        "commission_asset": "BNB",
    }
    trade_id, *_ = await record(**first)
    before = await stored(engine), await versions(engine)
    assert await record(**(first | changes)) == (trade_id, False, False)
    assert (await stored(engine), await versions(engine)) == before


FEE = {"commission_amount": Decimal("0.1"), "commission_asset": "BNB"}
REBATE = {"commission_amount": Decimal("-0.3"), "commission_asset": "BNB"}


@pytest.mark.parametrize(
    ("first", "report", "result"),
    [
        ({}, FEE, FEE),
        (FEE, REBATE, REBATE),
        ({"pnl": None}, {"pnl": Decimal(5)}, {"pnl": Decimal(5)}),
        (
            FEE | {"pnl": Decimal(5), "quantity_filled": ONE},
            {"quantity_filled": TWO, "quote_quantity_filled": TWO, "price": ONE},
            FEE | {"pnl": Decimal(5), "quantity_filled": TWO, "price": ONE},
        ),
        (
            REBATE | {"pnl": Decimal(5), "quantity_filled": ONE},
            FEE | {"pnl": Decimal(-1), "quantity_filled": TWO},
            FEE | {"pnl": Decimal(-1), "quantity_filled": TWO},
        ),
        ({"symbol": "BTCUSDT"}, {"symbol": "BTC/USDT"}, {"symbol": "BTC/USDT"}),
    ],
)
async def test_a_report_updates_the_trade(
    engine: AsyncEngine,
    record: Record,
    first: dict[str, Any],
    report: dict[str, Any],
    result: dict[str, Any],
) -> None:
    trade_id, *_ = await record(**first)
    assert await record(**(report | {"timestamp": NOON + timedelta(1)})) == (trade_id, False, True)
    (trade,) = await stored(engine)
    assert trade == trade | result | {"timestamp": NOON}


@pytest.mark.parametrize(
    "report",
    [
        {"commission_amount": Decimal(1)},
        {"quantity_filled": TWO},
        {"side": "BUY", "pnl": Decimal(1), "price": None},
    ],
)
async def test_a_report_may_omit_stored_values(
    engine: AsyncEngine, record: Record, report: dict[str, Any]
) -> None:
    await record()
    (before,) = await stored(engine)
    async with AsyncSession(engine) as session, session.begin():
        report |= {"binance_order_id": "BTC/USDT:28"}
        assert (await queries.record_trade(session, report)).is_changed
    (trade,) = await stored(engine)
    added = {name: value for name, value in report.items() if value is not None}
    assert trade == before | added | {"binance_order_id": "BTCUSDT:28"}


async def test_the_first_report_must_be_complete(engine: AsyncEngine, record: Record) -> None:
    async with AsyncSession(engine) as session:
        with pytest.raises(IntegrityError, match="null value"):
            await queries.record_trade(session, {"binance_order_id": "BTCUSDT:1"})


@pytest.mark.parametrize(
    "changes",
    [
        {"bot_config_id": 2, "user_id": 2},
        {"symbol": "ETH/USDT"},
        {"side": "SELL"},
        {"symbol": "ETH/USDT", "side": "SELL", "quantity_filled": Decimal(7)},
    ],
    ids=str,
)
@pytest.mark.parametrize("in_bulk", [False, True])
async def test_another_order_with_the_same_key(
    engine: AsyncEngine, record: Record, changes: dict[str, Any], in_bulk: bool
) -> None:
    trade_id, *_ = await record()
    before = await stored(engine)
    async with AsyncSession(engine) as session, session.begin():
        new = ORDER | {"binance_order_id": "BTCUSDT:1"}
        with pytest.raises(OrderConflictError) as caught:
            await (
                queries.record_trades(session, [new, ORDER | changes])
                if in_bulk
                else queries.record_trade(session, ORDER | changes)
            )
    assert caught.value.trade_id == trade_id
    assert caught.value.columns == [name for name in changes if name != "quantity_filled"]
    assert not any(str(value) in str(caught.value) for value in ("ETH", "SELL"))
    assert await stored(engine) == before, "all rows or none"


def test_a_conflict_can_be_pickled() -> None:
    conflict = pickle.loads(pickle.dumps(OrderConflictError(7, ["side"])))  # noqa: S301
    assert (str(conflict), conflict.trade_id, conflict.columns) == (
        "trade 7 has this order id, but other side",
        7,
        ["side"],
    )


async def test_the_key_is_not_compared_with_the_symbol(
    engine: AsyncEngine, record: Record
) -> None:
    await record(binance_order_id="ETH/USDT:x/7")
    assert [trade["binance_order_id"] for trade in await stored(engine)] == ["ETHUSDT:x/7"]


def reports(number: int = 10) -> list[dict[str, Any]]:
    """Return the reports of an exchange about an order that is filled in parts."""
    return [
        ORDER
        | {
            "quantity_filled": Decimal(filled) / 3,
            "quote_quantity_filled": Decimal(filled) / 7,
            "price": Decimal(100 - filled) / 3,
            "commission_amount": Decimal(-filled) / 9,
            "commission_asset": "BNB",
            "pnl": Decimal(filled) / 11,
        }
        for filled in range(1, number + 1)
    ]


async def test_many_workers_report_in_different_orders(
    engine: AsyncEngine, record: Record
) -> None:
    async def work(worker: int) -> list[Recorded]:
        ten = reports()
        return [await record(**report) for report in ten[worker:] + ten[:worker]]

    recorded = itertools.chain.from_iterable(await asyncio.gather(*map(work, range(10))))
    assert sum(is_new for _, is_new, _ in recorded) == 1
    (trade,) = await stored(engine)
    await record(**(reports()[-1] | {"binance_order_id": "BTCUSDT:29"}))
    _, last = await stored(engine)
    assert trade | {"id": 0, "binance_order_id": ""} == last | {"id": 0, "binance_order_id": ""}


async def test_importing_in_bulk(
    engine: AsyncEngine, record: Record, statements: list[str]
) -> None:
    existing = await record()
    statements.clear()
    rows: list[Mapping[str, Any]] = [
        ORDER | {"binance_order_id": "BTCUSDT:9", "quantity_filled": TWO},
        ORDER | {"binance_order_id": None},
        ORDER | FEE,
        ORDER | {"binance_order_id": "BTC/USDT:9", "quantity_filled": ONE},
        ORDER | {"binance_order_id": "BTCUSDT:9", "quantity_filled": Decimal(3)},
        {name: ORDER[name] for name in ORDER if name != "timestamp"} | {"binance_order_id": None},
        {"binance_order_id": "BTCUSDT:28", "pnl": ONE},
        *(ORDER | {"binance_order_id": f"BTCUSDT:{n}"} for n in range(1000, 3000)),
    ]
    async with AsyncSession(engine) as session, session.begin():
        recorded = await queries.record_trades(session, rows)
        assert await queries.record_trades(session, []) == []
    new, paper, fee, smaller, larger, paper_too, pnl, *many = recorded
    assert [new.is_new, smaller.is_new, larger.is_new] == [True, False, False]
    assert new.trade_id == smaller.trade_id == larger.trade_id
    assert [new.is_changed, smaller.is_changed, larger.is_changed] == [True, False, True]
    assert paper.is_new
    assert paper_too.is_new
    assert paper.trade_id != paper_too.trade_id
    assert fee == pnl == (existing.trade_id, False, True)
    assert len({trade_id for trade_id, is_new, _ in many if is_new}) == 2000
    assert len(statements) < 20, "in batches"
    trades = {trade["id"]: trade for trade in await stored(engine)}
    assert trades[existing.trade_id]["pnl"] == 1
    assert trades[existing.trade_id]["commission_asset"] == "BNB"
    assert trades[new.trade_id]["quantity_filled"] == 3
    keys = [trades[result.trade_id]["binance_order_id"] for result in many]
    assert keys == [f"BTCUSDT:{n}" for n in range(1000, 3000)]


async def test_imports_of_the_same_orders_do_not_deadlock(
    engine: AsyncEngine, record: Record
) -> None:
    await record(binance_order_id="BTCUSDT:15")
    rows = [
        report | {"binance_order_id": f"BTCUSDT:{number}"}
        for report in reports(3)
        for number in range(20)
    ]

    async def work(worker: int) -> None:
        for batch in (rows[worker::2], rows[::-1], rows[worker:] + rows[:worker]):
            async with AsyncSession(engine) as session, session.begin():
                await queries.record_trades(session, batch)

    await asyncio.gather(*map(work, range(6)))
    async with AsyncSession(engine) as session:
        result = await session.execute(
            select(func.count(), func.min(Trade.quantity_filled), func.max(Trade.quantity_filled))
        )
        assert result.one() == (20, 1, 1)
