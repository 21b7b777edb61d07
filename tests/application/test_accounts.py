"""A user can be erased, except for the financial records."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import ApiKey, BotConfig, BotState, Trade, User, queries
from tests.support import factories

PERSONAL = ("ada@", "Ada's", "error of Ada")


@pytest.fixture(autouse=True)
async def _users(engine: AsyncEngine) -> None:
    """Ada, with rows in every table, and another user."""
    async with AsyncSession(engine) as session, session.begin():
        bot = factories.running_bot(last_error_message="error of Ada")
        bot.name = "Ada's bot"
        bot.owner.email = "ada@example.com"
        idle = factories.bot_config(owner=bot.owner, name="Ada's other bot")
        key = factories.api_key(owner=bot.owner, label="Ada's key")
        session.add_all([bot, idle, key, factories.trade(bot)])
        await session.flush()
        other = factories.running_bot(last_error_message="x")
        session.add_all([other, factories.api_key(owner=other.owner)])


async def content(engine: AsyncEngine) -> str:
    async with AsyncSession(engine) as session:
        tables = ("users", "api_keys", "bot_configs", "bot_states", "trades")
        rows = [
            (await session.execute(text(f"SELECT t::text FROM {table} t ORDER BY 1"))).all()
            for table in tables
        ]
        return str(rows)


async def forget(engine: AsyncEngine, user_id: int = 1) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await queries.forget_user(session, user_id)


async def test_personal_data_is_erased(engine: AsyncEngine, session: AsyncSession) -> None:
    await forget(engine)
    stored = await content(engine)
    assert not any(word in stored for word in PERSONAL)
    user = await session.get_one(User, 1)
    assert not user.is_active
    assert "argon" not in user.hashed_password
    assert (await session.scalars(select(ApiKey.user_id))).all() == [2]
    bots = (await session.scalars(select(BotConfig).where(BotConfig.user_id == 1))).all()
    assert [bot.is_active for bot in bots] == [False, False]
    assert (await session.get_one(BotState, 1)).status == "stopped"
    assert (await session.scalars(select(Trade.user_id))).all() == [1]
    other = await session.get_one(User, 2)
    assert other.is_active
    assert (await session.get_one(BotState, 3)).last_error_message == "x"


async def test_erasing_is_idempotent(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        session.add(factories.user(email="erased-1@example.invalid"))
    await forget(engine)
    await forget(engine)
    await forget(engine, 2)


async def test_loaded_objects_are_updated(session: AsyncSession) -> None:
    user = await session.get_one(User, 1)
    bot = await session.get_one(BotConfig, 1)
    await queries.forget_user(session, 1)
    assert "ada" not in user.email
    assert not user.is_active
    assert bot.name == "erased"
    assert bot.updated_at <= datetime.now(UTC)


@pytest.mark.parametrize("entry_price", [None, 100])
async def test_an_open_position_prevents_erasure(engine: AsyncEngine, entry_price: Any) -> None:
    async with AsyncSession(engine) as session, session.begin():
        state = await session.get_one(BotState, 1)
        state.in_position, state.entry_price = True, entry_price
    before = await content(engine)
    async with AsyncSession(engine) as session, session.begin():
        with pytest.raises(queries.PositionError, match="bot 1"):
            await queries.forget_user(session, 1)
    assert await content(engine) == before


async def test_an_unknown_user(engine: AsyncEngine) -> None:
    with pytest.raises(NoResultFound):
        await forget(engine, 99)


@pytest.mark.parametrize("entry_price", [None, 100])
async def test_a_bot_in_position_is_not_deleted(engine: AsyncEngine, entry_price: Any) -> None:
    async with AsyncSession(engine) as session, session.begin():
        state = await session.get_one(BotState, 3)
        state.in_position, state.entry_price = True, entry_price
    async with AsyncSession(engine) as session, session.begin():
        with pytest.raises(queries.PositionError, match="bot 3"):
            await queries.delete_bot(session, 3)
    async with AsyncSession(engine) as session, session.begin():
        state = await session.get_one(BotState, 3)
        state.in_position = False
        await session.flush()
        await queries.delete_bot(session, 3)
        assert await session.get(BotConfig, 3, populate_existing=True) is None
