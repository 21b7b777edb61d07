"""A bot's day is the sum of its trades since midnight."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotState, Trade, queries
from tests.support import factories
from tests.support.locks import wait_for_blocked_sessions
from verification.content import content

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
ISTANBUL = MIDNIGHT - timedelta(hours=3)
ORDER = factories.MINIMAL_ROWS["trades"] | {"bot_config_id": 2, "user_id": 2}


@pytest.fixture(autouse=True)
async def _bots(engine: AsyncEngine) -> None:
    """Three bots, of three users; the second one has traded around midnight."""
    async with AsyncSession(engine) as session, session.begin():
        session.add_all(factories.running_bot() for _ in range(3))
        await session.flush()
        trades = [
            ORDER | {"timestamp": MIDNIGHT + timedelta(minutes=minutes), "pnl": pnl}
            for minutes, pnl in ((-240, 1), (-60, 2), (-1, None), (0, 4), (1, -12))
        ]
        await session.execute(insert(Trade), trades)


def days(database: str) -> list[tuple[Any, ...]]:
    states = content(database)["bot_states"]
    return [
        (state["daily_pnl"], state["daily_trades_count"]) for _, state in sorted(states.items())
    ]


@pytest.mark.parametrize(("since", "day"), [(MIDNIGHT, (-8, 2)), (ISTANBUL, (-6, 4))])
async def test_refreshing_twice(
    database: str, transact: Callable[..., Any], since: datetime, day: tuple[int, int]
) -> None:
    yesterday = {"daily_pnl": Decimal(-50), "daily_trades_count": 9}
    await transact(AsyncSession.execute, update(BotState).where(BotState.id > 1).values(yesterday))
    assert await transact(queries.refresh_day, since) == 2
    assert days(database) == [(0, 0), day, (0, 0)]
    before = content(database, versions=True)
    assert await transact(queries.refresh_day, since) == 0
    assert content(database, versions=True) == before


async def test_the_bots_of_a_user(database: str, session: AsyncSession) -> None:
    """Their states are updated, also where the session has loaded them."""
    await session.execute(update(BotState).values(daily_trades_count=9))
    state = await session.get_one(BotState, 2)
    assert await queries.refresh_day(session, MIDNIGHT, 2) == 1
    assert (state.daily_pnl, state.daily_trades_count) == (Decimal(-8), 2)
    await session.commit()
    assert days(database) == [(0, 9), (-8, 2), (0, 9)]


async def test_refresh_waits_for_a_trade_that_is_not_committed(
    engine: AsyncEngine, database: str, transact: Callable[..., Any]
) -> None:
    """Its sum from before the wait would seem right after it: 42 less 50 are the other trades."""
    state = update(BotState).where(BotState.id == 2)
    await transact(AsyncSession.execute, state.values(daily_pnl=42, daily_trades_count=1))
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(
            state.values(daily_pnl=BotState.daily_pnl - 50, daily_trades_count=2)
        )
        await session.execute(insert(Trade), ORDER | {"timestamp": MIDNIGHT, "pnl": Decimal(-50)})
        refreshing = asyncio.ensure_future(transact(queries.refresh_day, MIDNIGHT))
        await wait_for_blocked_sessions(engine)
    assert (await refreshing, days(database)[1]) == (1, (-58, 3))


async def test_concurrent_refreshes(database: str, transact: Callable[..., Any]) -> None:
    await transact(AsyncSession.execute, update(BotState).values(daily_trades_count=9))
    refreshes = (transact(queries.refresh_day, MIDNIGHT) for _ in range(6))
    assert sum(await asyncio.gather(*refreshes)) == 3
    assert days(database) == [(0, 0), (-8, 2), (0, 0)]
