"""The hot queries return the right rows."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import Executable

from models import BotConfig, queries
from tests.support import factories
from tests.support.factories import add_bot

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def add_trades(session: AsyncSession, bot: BotConfig, *trades: dict[str, Any]) -> None:
    session.add_all(factories.trade(bot, **values) for values in trades)
    await session.flush()


async def rows(session: AsyncSession, statement: Executable) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await session.execute(statement)]


@pytest.mark.parametrize(
    ("page", "owner"), [(queries.trades_of_bot, "id"), (queries.trades_of_user, "user_id")]
)
async def test_pages_of_trades(session: AsyncSession, page: Any, owner: str) -> None:
    bot = await add_bot(session)
    # Some of them at the same time, and not recorded in order.
    times = [NOON + timedelta(seconds=n % 3) for n in range(7)]
    await add_trades(session, bot, *({"timestamp": time} for time in times))
    await add_trades(session, await add_bot(session), {"timestamp": NOON})

    next_page: Any = page(getattr(bot, owner), limit=2)
    positions: list[queries.Cursor] = []
    while trades := (await session.scalars(next_page)).all():
        assert len(trades) <= 2
        positions += [(trade.timestamp, trade.id) for trade in trades]
        next_page = page(getattr(bot, owner), positions[-1], limit=2)
    assert len(positions) == 7
    assert positions == sorted(positions, reverse=True)


async def test_result_of_a_bot(session: AsyncSession) -> None:
    bot = await add_bot(session)
    assert await rows(session, queries.bot_result(bot.id, NOON)) == [(0, 0)]
    await add_trades(
        session,
        bot,
        {"timestamp": NOON - timedelta(microseconds=1), "pnl": Decimal(100)},
        {"timestamp": NOON},
        {"timestamp": NOON, "pnl": Decimal("-3.5")},
    )
    assert await rows(session, queries.bot_result(bot.id, NOON)) == [(2, Decimal("-3.5"))]


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
        # Without a slash, the currency is not guessed.
        {"timestamp": NOON, "pnl": Decimal(32), "symbol": "BTCUSDT"},
        {"timestamp": NOON, "pnl": Decimal(64), "symbol": "ETHBTC"},
        {"timestamp": NOON + timedelta(hours=10), "pnl": Decimal(8)},
    )
    await add_trades(session, await add_bot(session), {"timestamp": NOON, "pnl": Decimal(16)})
    since = NOON - timedelta(days=1)
    today = date(2026, 11, 24)
    others = [(today, "BTC", 4), (today, "BTCUSDT", 32), (today, "ETHBTC", 64)]
    assert await rows(session, queries.daily_pnl(bot.user_id, since)) == [
        *others,
        (today, "USDT", 11),
    ]
    assert await rows(session, queries.daily_pnl(bot.user_id, since, "Europe/Istanbul")) == [
        (date(2026, 11, 25), "USDT", 8),
        *others,
        (today, "USDT", 3),
    ]


@pytest.mark.parametrize("name", ["+03:00", "UTC+3", "GMT+3", "+3", "Mars", "", "../UTC", "IST"])
def test_what_is_not_the_name_of_a_time_zone(name: str) -> None:
    """PostgreSQL would take some of them, with the sign of POSIX: west of Greenwich."""
    with pytest.raises(ValueError, match="Europe/Istanbul"):
        queries.daily_pnl(1, NOON, name)


async def test_reports_of_a_period(session: AsyncSession) -> None:
    """From ``since``, up to but not including ``until``; by symbol, and by asset."""
    bot, other = await add_bot(session), await add_bot(session)
    trades: list[tuple[BotConfig, int, str, int | None, str | None, int | None]] = [
        (bot, -1, "BTC/USDT", 100, "BNB", 100),
        (bot, 0, "BTC/USDT", 1, "BNB", 1),
        (bot, 0, "SOL/USDT", None, None, None),
        (bot, 1, "BTC/USDT", 2, "BNB", -3),
        (bot, 1, "ETH/USDT", 4, "USDT", 4),
        (bot, 2, "BTC/USDT", 16, "BNB", 16),
        (other, 1, "BTC/USDT", 8, "BNB", 8),
    ]
    for owner, hours, symbol, pnl, asset, fee in trades:
        values = {
            "timestamp": NOON + timedelta(hours=hours),
            "symbol": symbol,
            "pnl": pnl,
            "commission_asset": asset,
            "commission_amount": fee,
        }
        await add_trades(session, owner, values)
    for report, expected in (
        (queries.daily_pnl, [(NOON.date(), "USDT", 7)]),
        (queries.pnl_by_symbol, [("BTC/USDT", 3), ("ETH/USDT", 4)]),
        (queries.fees_by_asset, [("BNB", -2), ("USDT", 4)]),
    ):
        statement = report(bot.user_id, NOON, until=NOON + timedelta(hours=2))
        assert await rows(session, statement) == expected


async def test_bots_and_positions_of_a_user(session: AsyncSession) -> None:
    bot = await add_bot(session, in_position=True)
    flat = factories.bot_config(owner=bot.owner, state=factories.bot_state())
    unused = factories.bot_config(owner=bot.owner)
    session.add_all([flat, unused, factories.running_bot(in_position=True)])
    await session.flush()
    session.expunge_all()
    configs = (await session.scalars(queries.bots_of_user(bot.user_id))).all()
    expected = [(bot.id, True), (flat.id, True), (unused.id, False)]
    assert [(config.id, bool(config.state)) for config in configs] == expected
    (state,) = await session.scalars(queries.positions_of_user(bot.user_id))
    assert (state, state.config) == (configs[0].state, configs[0])


async def test_a_user_and_the_keys(session: AsyncSession) -> None:
    owner = factories.user(email="Ada@example.com")
    keys = [factories.api_key(owner=owner, is_valid=is_valid) for is_valid in (True, True, False)]
    session.add_all([*keys, factories.api_key(owner=factories.user(), is_valid=True)])
    await session.flush()
    assert await session.scalar(queries.user_by_email("Ada@example.com")) is owner
    assert await session.scalar(queries.user_by_email("ada@example.com")) is None
    assert (await session.scalars(queries.keys_of_user(owner.id))).all() == keys
    assert (await session.scalars(queries.usable_key(owner.id))).all() == [keys[1]]
    keys[0].is_valid = keys[1].is_valid = False
    assert (await session.scalars(queries.usable_key(owner.id))).all() == []
