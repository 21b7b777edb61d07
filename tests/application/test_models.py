"""Amounts, timestamps and enums are read exactly as stored; no relationship is lazy-loaded."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, make_transient_to_detached

from models import ApiKey, BotConfig, BotState, BotStatus, OrderType, Side, Timeframe, Trade, User
from tests.support import factories
from verification import databases

# Values that the column types must store exactly: the smallest step, a mantissa of 19 digits with
# 8 decimals, the largest number, trailing zeros, a fill price with a repeating decimal.
MONEY = [
    Decimal("0"),
    Decimal("0.000000000000000001"),
    Decimal("92233720368.54775807"),
    Decimal("99999999999999999999.999999999999999999"),
    Decimal("64000.10"),
    Decimal("0.333333333333333333"),
]


async def test_money_is_read_back_exactly(session: AsyncSession, database: str) -> None:
    """Through both drivers."""
    bot = factories.bot_config(owner=factories.user())
    session.add_all(factories.trade(bot, price=n, pnl=n.copy_negate()) for n in MONEY)
    await session.commit()
    query = select(Trade.price, Trade.pnl).order_by(Trade.id)
    with Session(databases.sync_engine(database)) as synchronous:
        for rows in ((await session.execute(query)).all(), synchronous.execute(query).all()):
            assert rows == [(amount, amount.copy_negate()) for amount in MONEY]


async def test_flush_loads_defaults_and_times_of_change(session: AsyncSession) -> None:
    """No refresh: loading an attribute on access would fail under asyncio."""
    key, state = factories.api_key(), factories.bot_state()
    bot = factories.bot_config(state=state)
    user = factories.user(api_keys=[key], bot_configs=[bot])
    trade = factories.trade(bot)
    session.add_all([user, trade])
    await session.flush()
    assert (user.is_active, key.is_valid, bot.is_active) == (True, False, False)
    assert (bot.trailing_stop_active, bot.check_interval_seconds) == (False, 60)
    assert (state.status, state.in_position) == (BotStatus.STOPPED, False)
    assert (state.daily_pnl, state.daily_trades_count) == (Decimal(0), 0)
    now = await session.scalar(select(func.now()))
    rows: list[Any] = [user, key, bot]
    times = {time for row in rows for time in (row.created_at, row.updated_at)}
    assert times | {state.last_updated_at, trade.timestamp} == {now}
    await session.commit()
    user.is_active, key.is_valid, bot.is_active = False, True, True
    state.status = BotStatus.RUNNING
    await session.flush()
    assert [row.created_at for row in rows] == [now] * 3
    assert min(state.last_updated_at, *(row.updated_at for row in rows)) > now


async def test_timestamps_are_read_back_aware_and_equal(session: AsyncSession) -> None:
    await session.execute(text("SET TIME ZONE 'Asia/Tokyo'"))
    moment = datetime(2026, 11, 24, 3, 0, 0, 123456, tzinfo=timezone(timedelta(hours=3)))
    trade = factories.trade(factories.bot_config(owner=factories.user()), timestamp=moment)
    session.add(trade)
    await session.commit()
    await session.refresh(trade)
    assert trade.timestamp == moment  # so it is aware
    same = await session.scalars(select(Trade).where(Trade.timestamp == moment.astimezone(UTC)))
    assert same.one() is trade
    later = select(Trade.timestamp + timedelta(hours=1), Trade.timestamp - moment)
    assert (await session.execute(later)).one() == (moment + timedelta(hours=1), timedelta(0))


async def test_no_relationship_is_lazy_loaded(session: AsyncSession) -> None:
    owner = factories.user(api_keys=[factories.api_key()])
    session.add(factories.trade(factories.bot_config(owner=owner, state=factories.bot_state())))
    await session.commit()
    for model in (User, ApiKey, BotConfig, BotState, Trade):
        for name, relationship in model.__mapper__.relationships.items():
            if relationship.lazy == "write_only":  # a query
                assert name == "trades"
                continue
            session.expunge_all()
            row = (await session.scalars(select(model))).one()
            with pytest.raises(InvalidRequestError, match=rf"\.{name}' is not available due to"):
                getattr(row, name)


def test_a_synchronous_session(connection: Connection) -> None:
    """Through psycopg."""
    with Session(connection) as session:
        moment = datetime(2026, 11, 24, 3, 0, tzinfo=timezone(timedelta(hours=3)))
        state = factories.bot_state()
        bot = factories.bot_config(
            owner=factories.user(), state=state, timeframe=Timeframe.MONTH_1
        )
        trade = factories.trade(bot, order_type=OrderType.LIMIT, timestamp=moment)
        session.add(trade)
        session.commit()  # after which attributes are loaded on access
        assert trade.timestamp == moment
        enums = (bot.timeframe, trade.side, trade.order_type)
        assert enums == ("1M", Side.BUY, "LIMIT") == (Timeframe.MONTH_1, "BUY", OrderType.LIMIT)
        before = state.last_updated_at
        state.status = BotStatus.RUNNING
        session.commit()
        assert state.last_updated_at > before


def test_reprs_show_no_secrets() -> None:
    user = factories.user(email="ada@example.com", hashed_password="hash-of-ada")
    key = factories.api_key(encrypted_api_key="key-of-ada", encrypted_secret_key="secret-of-ada")
    bot = factories.bot_config(id=3, user_id=1, is_active=True)
    state = factories.bot_state(last_error_message="see key-of-ada")
    assert "ada" not in f"{user!r} {key!r} {bot!r} {state!r} {factories.trade(bot)!r}"
    assert repr(bot) == (
        "BotConfig(id=3, user_id=1, name='BTC/USDT EMA Cross', symbol='BTC/USDT', is_active=True)"
    )
    detached = User(id=1)
    make_transient_to_detached(detached)  # all else is expired
    assert repr(detached) == "User(id=1)"
