"""What the hot queries answer. How they find it is in tests/test_query_plans.py."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.sql.base import Executable

from models import BotConfig, BotState, Trade, queries
from tests.support import factories

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORDER = {**factories.SMALLEST["trades"], "binance_order_id": "BTCUSDT:28", "timestamp": NOON}


async def add_bot(session: AsyncSession, **state: Any) -> BotConfig:
    bot = factories.bot_config(owner=factories.user(), is_active=True)
    bot.state = factories.bot_state(**({"status": "running"} | state))
    session.add(bot)
    await session.flush()
    return bot


async def add_trades(session: AsyncSession, bot: BotConfig, *trades: dict[str, Any]) -> None:
    for values in trades:
        session.add(factories.trade(bot, **values))
        await session.flush()


async def rows(session: AsyncSession, statement: Executable) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await session.execute(statement)]


async def test_due_bots_that_waited_longest_come_first(session: AsyncSession) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    late = await add_bot(session, last_run_at=now - timedelta(seconds=60))
    later = await add_bot(session, last_run_at=now - timedelta(seconds=61))
    never = await add_bot(session)
    await add_bot(session, last_run_at=now - timedelta(seconds=59))
    await add_bot(session, status="stopped")
    await add_bot(session, status="error")
    switched_off = await add_bot(session)
    switched_off.is_active = False
    slow = await add_bot(session, last_run_at=now - timedelta(seconds=61))
    slow.check_interval_seconds = 62
    await session.flush()
    due = (await session.scalars(queries.due_bots())).all()
    assert [state.id for state in due] == [never.id, later.id, late.id]
    assert len((await session.scalars(queries.due_bots(limit=1))).all()) == 1


async def test_due_bots_are_not_given_to_two_workers(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        bots = [await add_bot(session) for _ in range(3)]
        ids = {bot.id for bot in bots}
    async with AsyncSession(engine) as one, AsyncSession(engine) as other:
        first = {state.id for state in await one.scalars(queries.due_bots(limit=2))}
        second = {state.id for state in await other.scalars(queries.due_bots(limit=2))}
    assert len(first) == 2
    assert second == ids - first


@pytest.mark.parametrize("of", ["bot", "user"])
async def test_pages_of_trades(session: AsyncSession, of: str) -> None:
    bot = await add_bot(session)
    # Some of them at the same time, and not recorded in order.
    times = [NOON + timedelta(seconds=n % 3) for n in range(7)]
    await add_trades(session, bot, *({"timestamp": time} for time in times))
    await add_trades(session, await add_bot(session), {"timestamp": NOON})

    def page(before: queries.Position | None) -> Any:
        if of == "bot":
            return queries.trades_of_bot(bot.id, before, limit=2)
        return queries.trades_of_user(bot.user_id, before, limit=2)

    found: list[queries.Position] = []
    while trades := (await session.scalars(page(found[-1] if found else None))).all():
        assert len(trades) <= 2
        found += [(trade.timestamp, trade.id) for trade in trades]
    assert len(found) == 7
    assert found == sorted(found, reverse=True)


async def test_result_of_a_bot(session: AsyncSession) -> None:
    bot = await add_bot(session)
    assert (await session.execute(queries.bot_result(bot.id, NOON))).one() == (0, 0)
    await add_trades(
        session,
        bot,
        {"timestamp": NOON - timedelta(microseconds=1), "pnl": Decimal(100)},
        {"timestamp": NOON},
        {"timestamp": NOON, "pnl": Decimal("-3.5")},
    )
    result = (await session.execute(queries.bot_result(bot.id, NOON))).one()
    assert result == (2, Decimal("-3.5"))


async def test_daily_pnl_keeps_days_and_currencies_apart(session: AsyncSession) -> None:
    bot = await add_bot(session)
    await add_trades(
        session,
        bot,
        {"timestamp": NOON - timedelta(days=2), "pnl": Decimal(100)},
        {"timestamp": NOON, "pnl": Decimal(1)},
        {"timestamp": NOON, "pnl": Decimal(2), "symbol": "ETH/USDT"},
        {"timestamp": NOON, "pnl": Decimal(4), "symbol": "ETH/BTC"},
        {"timestamp": NOON, "pnl": None, "symbol": "ETH/EUR"},
        {"timestamp": NOON + timedelta(hours=10), "pnl": Decimal(8)},
    )
    await add_trades(session, await add_bot(session), {"timestamp": NOON, "pnl": Decimal(16)})
    since = NOON - timedelta(days=1)
    result = await rows(session, queries.daily_pnl(bot.user_id, since))
    assert result == [(date(2026, 11, 24), "BTC", 4), (date(2026, 11, 24), "USDT", 11)]
    result = await rows(session, queries.daily_pnl(bot.user_id, since, "Europe/Istanbul"))
    assert result == [
        (date(2026, 11, 25), "USDT", 8),
        (date(2026, 11, 24), "BTC", 4),
        (date(2026, 11, 24), "USDT", 3),
    ]


async def test_pnl_by_symbol(session: AsyncSession) -> None:
    bot = await add_bot(session)
    await add_trades(
        session,
        bot,
        {"timestamp": NOON - timedelta(days=2), "pnl": Decimal(100)},
        {"timestamp": NOON, "pnl": Decimal(1)},
        {"timestamp": NOON, "pnl": Decimal(2)},
        {"timestamp": NOON, "pnl": Decimal(4), "symbol": "ETH/USDT"},
        {"timestamp": NOON, "symbol": "SOL/USDT"},
    )
    await add_trades(session, await add_bot(session), {"timestamp": NOON, "pnl": Decimal(8)})
    result = await rows(session, queries.pnl_by_symbol(bot.user_id, NOON))
    assert result == [("BTC/USDT", 3), ("ETH/USDT", 4)]


async def test_open_positions(session: AsyncSession) -> None:
    bot = await add_bot(session, in_position=True)
    flat = factories.bot_config(owner=bot.owner)
    flat.state = factories.bot_state()
    session.add(flat)
    await add_bot(session, in_position=True)
    assert (await session.scalars(queries.open_positions(bot.user_id))).all() == [bot.state]


async def test_tick(session: AsyncSession) -> None:
    bot, other = await add_bot(session), await add_bot(session)
    assert bot.state
    assert other.state
    await session.execute(queries.tick(bot.id, max_price_since_entry=Decimal("65000.5")))
    # No refresh: the state that is loaded must not have to be loaded again.
    now = await session.scalar(select(func.now()))
    assert bot.state.max_price_since_entry == Decimal("65000.5")
    assert bot.state.last_run_at == bot.state.last_updated_at == now
    assert (other.state.last_run_at, other.state.max_price_since_entry) == (None, None)


async def test_daily_reset(session: AsyncSession) -> None:
    await add_bot(session, daily_pnl=Decimal("-1.5"))
    await add_bot(session, daily_trades_count=3)
    await add_bot(session)
    changed = await session.execute(queries.reset_daily())
    assert changed.rowcount == 2  # type: ignore[attr-defined]
    days = select(BotState.daily_pnl, BotState.daily_trades_count)
    assert await rows(session, days) == [(0, 0)] * 3


async def test_keys_of_a_user(session: AsyncSession) -> None:
    owner = factories.user()
    keys = [factories.api_key(owner=owner) for _ in range(2)]
    session.add_all([*keys, factories.api_key(owner=factories.user())])
    await session.flush()
    assert (await session.scalars(queries.keys_of_user(owner.id))).all() == keys


async def test_user_by_email(session: AsyncSession) -> None:
    user = factories.user(email="Ada@example.com")
    session.add_all([user, factories.user()])
    await session.flush()
    assert await session.scalar(queries.user_by_email("Ada@example.com")) is user
    assert await session.scalar(queries.user_by_email("ada@example.com")) is None


Record = Callable[..., Awaitable[tuple[int, bool]]]


@pytest.fixture
async def record(engine: AsyncEngine) -> Record:
    """Record a trade of a bot with id 1, in a transaction of its own."""
    async with AsyncSession(engine) as session, session.begin():
        bots = [await add_bot(session) for _ in range(2)]
        assert (bots[0].id, bots[0].user_id) == (1, 1)

    async def record(**changes: Any) -> tuple[int, bool]:
        async with AsyncSession(engine) as session, session.begin():
            return await queries.record_trade(session, ORDER | changes)

    return record


async def test_recording_an_order_twice(record: Record) -> None:
    trade_id, new = await record()
    assert new
    assert await record() == (trade_id, False)
    assert await record(pnl=Decimal(5)) == (trade_id, False), "pnl is not the exchange's"


async def test_what_the_database_rounds_is_the_same_trade(record: Record) -> None:
    third = Decimal(1) / Decimal(3)
    trade_id, _ = await record(price=third)
    assert await record(price=third) == (trade_id, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"bot_config_id": 2, "user_id": 2},
        {"symbol": "ETH/USDT"},
        {"side": "SELL"},
        {"order_type": "LIMIT"},
        {"price": Decimal("64000.13")},
        {"quantity_filled": Decimal("0.002")},
        {"quote_quantity_filled": Decimal(0)},
        {"commission_amount": Decimal(1)},
        {"commission_asset": "BNB"},
        {"timestamp": NOON + timedelta(microseconds=1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_another_trade_with_the_same_order_id(
    record: Record, changes: dict[str, Any]
) -> None:
    trade_id, _ = await record()
    with pytest.raises(queries.OrderClash) as caught:
        await record(**changes)
    assert caught.value.trade_id == trade_id
    assert caught.value.columns == list(changes)
    assert all(name in str(caught.value) for name in changes)


async def test_trades_on_paper_are_always_new(record: Record) -> None:
    first, _ = await record(binance_order_id=None)
    second, new = await record(binance_order_id=None)
    assert new
    assert first != second


async def test_a_trade_that_is_not_valid(record: Record) -> None:
    with pytest.raises(IntegrityError):
        await record(side="HOLD")


async def test_many_workers_record_the_same_order(record: Record, session: AsyncSession) -> None:
    results = await asyncio.gather(*(record() for _ in range(10)))
    assert len({trade_id for trade_id, _ in results}) == 1
    assert sorted(new for _, new in results) == [False] * 9 + [True]
    assert await session.scalar(select(func.count()).select_from(Trade)) == 1


def test_a_clash_passes_between_processes() -> None:
    clash = pickle.loads(pickle.dumps(queries.OrderClash(7, ["price"])))  # noqa: S301
    assert (str(clash), clash.trade_id) == ("trade 7 has this order id, but other price", 7)
