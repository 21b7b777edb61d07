"""A user can be erased, except for the financial records."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import ApiKey, Base, BotConfig, BotState, Trade, User, queries
from tests import specification
from tests.support import factories
from tests.trading_bot import PROJECT
from verification import databases
from verification.content import content, insert_all


@pytest.fixture(autouse=True)
async def _users(engine: AsyncEngine) -> None:
    """Ada, with rows in every table, and another user."""
    async with AsyncSession(engine) as session, session.begin():
        ada = factories.user(email="ada@example.com")
        state = factories.bot_state(status="running", last_error_message="error of Ada")
        bot = factories.bot_config(owner=ada, name="Ada's bot", is_active=True, state=state)
        idle = factories.bot_config(owner=ada, name="Ada's other bot")
        other = factories.running_bot(last_error_message="x")
        keys = [factories.api_key(owner=owner) for owner in (ada, other.owner)]
        session.add_all([bot, idle, factories.trade(bot), other, *keys])


async def test_personal_data_is_erased(engine: AsyncEngine, session: AsyncSession) -> None:
    """Also in the objects that the session has loaded."""
    user, bot = await session.get_one(User, 1), await session.get_one(BotConfig, 1)
    await queries.forget_user(session, 1)
    assert (bot.name, bot.is_active, user.is_active) == ("erased", False, False)
    assert bot.updated_at <= datetime.now(UTC)
    await session.commit()
    assert not any(word in f"{user.email} {user.hashed_password}" for word in ("ada@", "argon"))
    assert (await session.scalars(select(ApiKey.user_id))).all() == [2]
    active = select(BotConfig.is_active).order_by(BotConfig.id)
    assert (await session.scalars(active)).all() == [False, False, True]
    assert (await session.get_one(BotState, 1)).status == "stopped"
    assert (await session.scalars(select(Trade.user_id))).all() == [1]
    assert (await session.get_one(User, 2)).is_active
    assert (await session.get_one(BotState, 3)).last_error_message == "x"


async def test_each_personal_column_is_erased(database: str, transact: Callable[..., Any]) -> None:
    """Those of the specification, in the rows of all users in ``tests/rows.py``."""
    databases.execute(database, "TRUNCATE users CASCADE")
    insert_all(database, PROJECT)
    databases.execute(database, "UPDATE bot_states SET in_position = false")
    before = content(database)
    for user in PROJECT.rows["users"]:
        await transact(queries.forget_user, user["id"])
    after = content(database)
    classes = {each.class_.__tablename__: each.class_.__name__ for each in Base.registry.mappers}
    for table, column in (name.split(".") for name in specification.personal_columns()):
        for key, row in before[table].items():
            kept = row[column] is not None and after[table].get(key, {}).get(column) == row[column]
            assert not kept, (
                f"{table}.{column} is personal, as tests/specification.py says, and forget_user()"
                f" in models/queries/accounts.py keeps it. Overwrite it there, such as with"
                f" update({classes[table]}).values({column}=None), or delete the row."
            )


async def test_erasing_is_idempotent(engine: AsyncEngine, transact: Callable[..., Any]) -> None:
    async with AsyncSession(engine) as session, session.begin():
        session.add(factories.user(email="erased-1@example.invalid"))
    for user_id in (1, 1, 2):
        await transact(queries.forget_user, user_id)


@pytest.mark.parametrize("entry_price", [None, 100])
@pytest.mark.parametrize(
    ("remove", "bot", "kept"),
    [(queries.forget_user, 1, [1, 2, 3]), (queries.delete_bot, 3, [1, 2])],
)
async def test_an_open_position_prevents_it(
    database: str,
    session: AsyncSession,
    transact: Callable[..., Any],
    remove: Any,
    bot: int,
    kept: list[int],
    entry_price: Any,
) -> None:
    """Nothing is changed, and the transaction continues. The user 1 has the bot 1."""
    position = update(BotState).where(BotState.id == bot)
    await transact(
        AsyncSession.execute, position.values(in_position=True, entry_price=entry_price)
    )
    before = content(database)
    with pytest.raises(queries.PositionError, match=f"bot {bot}"):
        await remove(session, bot)
    await session.commit()
    assert content(database) == before
    await transact(AsyncSession.execute, position.values(in_position=False))
    await transact(remove, bot)
    assert sorted(row["id"] for row in content(database)["bot_configs"].values()) == kept
