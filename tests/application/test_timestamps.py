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


def values(bot: BotConfig, time: Any) -> Any:
    """Return a trade on paper."""
    ids = {"bot_config_id": bot.id, "user_id": bot.user_id, "binance_order_id": None}
    return factories.MINIMAL_ROWS["trades"] | ids | {"timestamp": time}


WRITES: dict[str, Write] = {
    "insert": lambda session, bot, time: session.execute(
        insert(Trade).values(**values(bot, time))
    ),
    "in bulk": lambda session, bot, time: session.execute(
        insert(Trade), [values(bot, EAST), values(bot, time)]
    ),
    "condition": lambda session, bot, time: session.execute(queries.bot_result(bot.id, time)),
    "page": lambda session, bot, time: session.execute(queries.trades_of_bot(bot.id, (time, 1))),
    "refresh": lambda session, _, time: queries.refresh_day(session, time),
    "start of the day": lambda session, bot, time: queries.record_trade(
        session, values(bot, EAST), dust=Decimal(0), since=time
    ),
}


@pytest.mark.parametrize("time", [NAIVE, date(2026, 11, 24)], ids=["datetime", "date"])
@pytest.mark.parametrize("write", WRITES)
async def test_naive_times_are_refused(session: AsyncSession, write: str, time: Any) -> None:
    bot = await factories.add_bot(session)
    await WRITES[write](session, bot, EAST)
    with pytest.raises(StatementError) as caught:
        await WRITES[write](session, bot, time)
    line = str(caught.value).splitlines()[0]
    assert "naive" in line
    assert "value.replace(tzinfo=UTC)" in line, "the redaction must keep the advice"
    assert "2026" not in str(caught.value)


def test_every_time_has_this_type() -> None:
    columns = [column for table in Base.metadata.tables.values() for column in table.c]
    times = {column.type.__class__ for column in columns if "TIME" in str(column.type)}
    assert times == {AwareDateTime}
