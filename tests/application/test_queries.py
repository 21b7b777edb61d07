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
    for values in trades:
        session.add(factories.trade(bot, **values))
        await session.flush()


async def rows(session: AsyncSession, statement: Executable) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await session.execute(statement)]


@pytest.mark.parametrize("owner", ["bot", "user"])
async def test_pages_of_trades(session: AsyncSession, owner: str) -> None:
    bot = await add_bot(session)
    # Some of them at the same time, and not recorded in order.
    times = [NOON + timedelta(seconds=n % 3) for n in range(7)]
    await add_trades(session, bot, *({"timestamp": time} for time in times))
    await add_trades(session, await add_bot(session), {"timestamp": NOON})

    def page(before: queries.Cursor | None) -> Any:
        if owner == "bot":
            return queries.trades_of_bot(bot.id, before, limit=2)
        return queries.trades_of_user(bot.user_id, before, limit=2)

    positions: list[queries.Cursor] = []
    while trades := (await session.scalars(page(positions[-1] if positions else None))).all():
        assert len(trades) <= 2
        positions += [(trade.timestamp, trade.id) for trade in trades]
    assert len(positions) == 7
    assert positions == sorted(positions, reverse=True)


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
        # Without a slash, the currency is not guessed.
        {"timestamp": NOON, "pnl": Decimal(32), "symbol": "BTCUSDT"},
        {"timestamp": NOON, "pnl": Decimal(64), "symbol": "ETHBTC"},
        {"timestamp": NOON + timedelta(hours=10), "pnl": Decimal(8)},
    )
    await add_trades(session, await add_bot(session), {"timestamp": NOON, "pnl": Decimal(16)})
    since = NOON - timedelta(days=1)
    result = await rows(session, queries.daily_pnl(bot.user_id, since))
    today = date(2026, 11, 24)
    unknown = [(today, "BTCUSDT", 32), (today, "ETHBTC", 64)]
    assert result == [(today, "BTC", 4), *unknown, (today, "USDT", 11)]
    result = await rows(session, queries.daily_pnl(bot.user_id, since, "Europe/Istanbul"))
    assert result == [
        (date(2026, 11, 25), "USDT", 8),
        (today, "BTC", 4),
        *unknown,
        (today, "USDT", 3),
    ]


@pytest.mark.parametrize("name", ["+03:00", "UTC+3", "GMT+3", "+3", "Mars", "", "../UTC", "IST"])
def test_what_is_not_the_name_of_a_time_zone(name: str) -> None:
    """PostgreSQL would take some of them, with the sign of POSIX: west of Greenwich."""
    with pytest.raises(ValueError, match="Europe/Istanbul"):
        queries.daily_pnl(1, NOON, name)


async def test_reports_end_before_until(session: AsyncSession) -> None:
    bot = await add_bot(session)
    fee = {"commission_amount": Decimal(1), "commission_asset": "BNB", "pnl": Decimal(1)}
    times = [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=2)]
    await add_trades(session, bot, *({"timestamp": time, **fee} for time in times))
    for report in (queries.daily_pnl, queries.pnl_by_symbol, queries.fees_by_asset):
        assert (await rows(session, report(bot.user_id, NOON, until=times[2])))[0][-1] == 2
        assert (await rows(session, report(bot.user_id, times[1])))[0][-1] == 2


async def test_fees_by_asset(session: AsyncSession) -> None:
    bot = await add_bot(session)
    fees = [("BNB", 1), ("BNB", -3), ("USDT", 4), (None, None)]
    for asset, amount in fees:
        await add_trades(
            session,
            bot,
            {"timestamp": NOON, "commission_asset": asset, "commission_amount": amount},
        )
    result = await rows(session, queries.fees_by_asset(bot.user_id, NOON))
    assert result == [("BNB", -2), ("USDT", 4)]


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


async def test_positions_of_a_user(session: AsyncSession) -> None:
    bot = await add_bot(session, in_position=True)
    flat = factories.bot_config(owner=bot.owner)
    flat.state = factories.bot_state()
    session.add(flat)
    await add_bot(session, in_position=True)
    await session.flush()
    (state,) = await session.scalars(queries.positions_of_user(bot.user_id))
    assert state is bot.state
    assert state.config is bot


async def test_bots_of_a_user(session: AsyncSession) -> None:
    bot = await add_bot(session)
    other = factories.bot_config(owner=bot.owner)
    session.add_all([other, factories.running_bot()])
    await session.flush()
    session.expunge_all()
    configs = (await session.scalars(queries.bots_of_user(bot.user_id))).all()
    assert [(config.id, bool(config.state)) for config in configs] == [
        (bot.id, True),
        (other.id, False),
    ]


async def test_usable_key(session: AsyncSession) -> None:
    owner = factories.user()
    valid = [True, True, False]
    keys = [factories.api_key(owner=owner, is_valid=is_valid) for is_valid in valid]
    for key in keys:
        session.add(key)
        await session.flush()
    assert (await session.scalars(queries.usable_key(owner.id))).all() == [keys[1]]
    keys[0].is_valid = keys[1].is_valid = False
    assert (await session.scalars(queries.usable_key(owner.id))).all() == []


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
