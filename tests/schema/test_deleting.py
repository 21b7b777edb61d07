"""Deleting a row deletes its dependent rows, and rows with trades cannot be deleted."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from models import ApiKey, Base, BotConfig, BotState, Trade, User
from tests.support import factories

Delete = Callable[[AsyncSession, Base], Coroutine[Any, Any, None]]


async def through_orm(session: AsyncSession, row: Base) -> None:
    await session.delete(row)
    await session.commit()


async def through_orm_with_children_loaded(session: AsyncSession, row: Base) -> None:
    # Children in the session are deleted by the ORM, one by one, before the row.
    await session.scalars(
        select(User)
        .options(
            selectinload(User.api_keys),
            selectinload(User.bot_configs).selectinload(BotConfig.state),
        )
        .execution_options(populate_existing=True)
    )
    await through_orm(session, row)


async def through_sql(session: AsyncSession, row: Base) -> None:
    await session.execute(
        text(f"DELETE FROM {row.__tablename__} WHERE id = :id"), {"id": row.__dict__["id"]}
    )
    await session.commit()


async def counts(session: AsyncSession) -> dict[str, int]:
    return {
        model.__tablename__: await session.scalar(select(func.count()).select_from(model)) or 0
        for model in (User, ApiKey, BotConfig, BotState, Trade)
    }


@pytest.fixture
async def bot(session: AsyncSession) -> BotConfig:
    """A bot with a state and without trades, of a user with two keys; and another of each."""
    for _ in range(2):
        bot = factories.bot_config(state=factories.bot_state())
        keys = [factories.api_key(), factories.api_key()]
        session.add(factories.user(api_keys=keys, bot_configs=[bot]))
    await session.commit()
    return bot


@pytest.mark.parametrize("delete", [through_orm, through_orm_with_children_loaded, through_sql])
@pytest.mark.parametrize(
    ("model", "users", "api_keys"),
    [
        pytest.param(BotConfig, 2, 4, id="a bot's state"),
        pytest.param(User, 1, 2, id="a user's keys and bots"),
    ],
)
async def test_dependent_rows_are_deleted_too_unless_there_are_trades(
    session: AsyncSession,
    bot: BotConfig,
    delete: Delete,
    model: type[Base],
    users: int,
    api_keys: int,
) -> None:
    """The trades may be deleted on purpose before."""
    session.add(factories.trade(bot))
    await session.commit()
    before = await counts(session)
    key = bot.id if model is BotConfig else bot.user_id
    session.expunge_all()
    row = await session.get_one(model, key)
    with pytest.raises(IntegrityError):
        await delete(session, row)
    await session.rollback()
    assert await counts(session) == before
    await delete(session, (await session.scalars(select(Trade))).one())
    await delete(session, await session.get_one(model, key, populate_existing=True))
    assert await counts(session) == {
        "users": users, "api_keys": api_keys, "bot_configs": 1, "bot_states": 1, "trades": 0,
    }  # fmt: skip


async def test_removing_from_a_collection_deletes(session: AsyncSession, bot: BotConfig) -> None:
    session.expunge_all()
    statement = select(User).where(User.id == bot.user_id).options(selectinload(User.api_keys))
    user = (await session.scalars(statement)).one()
    user.api_keys.pop()
    await session.commit()
    assert (await counts(session))["api_keys"] == 3
