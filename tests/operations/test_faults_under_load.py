"""Bots continue to trade while a migration runs and while connections break."""

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import asyncpg
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from models import BotConfig, Trade
from models.database import make_engine
from tests.support import factories
from tests.support.alembic_cli import AlembicCli
from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import ADD_COLUMN, CONCURRENT_INDEX, Revisions
from tests.support.waiting import wait_for
from tests.trading_bot import PROJECT
from verification import databases

BOTS = 4
KILLS = 8
# The documented exceptions of a driver for a connection that breaks, in use or when opened.
DOCUMENTED = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)


KILL_A_CONNECTION = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'trading-bot'"
    " ORDER BY random() LIMIT 1"
)


async def test_trading_continues(
    alembic_cli: AlembicCli, todays_database: str, tmp_path: Path
) -> None:
    database, revisions = todays_database, Revisions(PROJECT, tmp_path)
    revisions.add("probe_1", ADD_COLUMN.format("trades", "probe"))
    revisions.add("probe_2", CONCURRENT_INDEX)
    engine = make_engine(database, pool_size=2, max_overflow=1)  # fewer connections than bots
    configs = [factories.bot_config() for _ in range(BOTS)]
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(factories.user(bot_configs=configs))
        await session.commit()
    numbers, stop = itertools.count(1), asyncio.Event()
    orders: set[str] = set()
    committed: Counter[int] = Counter()  # by bot
    failures = 0

    async def trade(bot: BotConfig) -> None:
        """Insert a trade, in a transaction."""
        nonlocal failures
        order = f"BTCUSDT:{next(numbers)}"
        try:
            async with AsyncSession(engine) as session, session.begin():
                ids = {"bot_config_id": bot.id, "user_id": bot.user_id}
                session.add(Trade(**MINIMAL_ROWS["trades"] | ids, binance_order_id=order))
        except DOCUMENTED:
            failures += 1
        else:
            orders.add(order)
            committed[bot.id] += 1

    async def run(bot: BotConfig) -> None:
        while not stop.is_set():
            await trade(bot)

    async def committed_more() -> None:
        """Wait until every bot has committed another trade."""
        before = Counter(committed)
        await asyncio.to_thread(
            wait_for, lambda: all(committed[bot.id] > before[bot.id] for bot in configs)
        )

    async with asyncio.TaskGroup() as tasks:
        for bot in configs:
            tasks.create_task(run(bot))
        await committed_more()
        arguments = ("-c", revisions.ini, "upgrade", "head")
        upgrade = asyncio.create_task(
            asyncio.to_thread(alembic_cli.run, *arguments, database=database)
        )
        for _ in range(KILLS):
            await asyncio.to_thread(databases.execute, database, KILL_A_CONNECTION)
            await committed_more()
        (await upgrade).succeeded()
        await committed_more()
        stop.set()
    assert databases.version(database) == "probe_2"

    # The pool returns only working connections, up to its limit.
    failed = failures
    await asyncio.gather(*(trade(bot) for bot in configs * 3))
    assert failures == failed

    async with AsyncSession(engine) as session:
        stored = set(await session.scalars(select(Trade.binance_order_id)))
        assert orders <= stored
        # A commit may succeed although its acknowledgement is lost; there are no other trades.
        assert len(stored - orders) <= failures
    await engine.dispose()
