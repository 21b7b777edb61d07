"""A naive datetime, which would be shifted by the time zone of the process, is refused."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from models import Base, BotConfig, Trade, queries
from models.base import AwareDateTime
from tests.support import factories

NAIVE = datetime(2026, 11, 24, 0, 30)
EAST = datetime(2026, 11, 24, 0, 30, tzinfo=timezone(timedelta(hours=3)))

Write = Callable[[AsyncSession, BotConfig, Any], Awaitable[Any]]


def values(bot: BotConfig, time: Any) -> dict[str, Any]:
    ids = {"bot_config_id": bot.id, "user_id": bot.user_id}
    return factories.MINIMAL_ROWS["trades"] | ids | {"timestamp": time}


async def by_insert(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    await session.execute(insert(Trade).values(**values(bot, time)))


async def in_bulk(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    await session.execute(insert(Trade), [values(bot, EAST), values(bot, time)])


async def by_a_condition(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    await session.execute(queries.bot_result(bot.id, time))


async def by_a_page(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    await session.execute(queries.trades_of_bot(bot.id, (time, 1)))


async def by_a_refresh(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    await queries.refresh_day(session, time)


async def by_the_start_of_the_day(session: AsyncSession, bot: BotConfig, time: Any) -> None:
    paper: Any = values(bot, EAST) | {"binance_order_id": None}
    await queries.record_trade(session, paper, dust=Decimal(0), since=time)


@pytest.mark.parametrize("time", [NAIVE, date(2026, 11, 24)], ids=["datetime", "date"])
@pytest.mark.parametrize(
    "write",
    [by_insert, in_bulk, by_a_condition, by_a_page, by_a_refresh, by_the_start_of_the_day],
)
async def test_naive_times_are_refused(session: AsyncSession, write: Write, time: Any) -> None:
    bot = await factories.add_bot(session)
    await write(session, bot, EAST)
    with pytest.raises(StatementError) as caught:
        await write(session, bot, time)
    line = str(caught.value).splitlines()[0]
    assert "naive" in line
    assert "value.replace(tzinfo=UTC)" in line, "the redaction must keep the advice"
    assert "2026" not in str(caught.value)


def test_every_time_has_this_type() -> None:
    columns = [column for table in Base.metadata.tables.values() for column in table.c]
    times = {column.type.__class__ for column in columns if "TIME" in str(column.type)}
    assert times == {AwareDateTime}
