"""Bots continue to trade while a migration runs and while connections break."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from models import BotConfig, BotState, BotStatus, Trade
from models.database import make_engine
from tests.support import factories
from tests.support.alembic_cli import AlembicCli
from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import ADD_COLUMN, CONCURRENT_INDEX, Revisions
from verification import databases

BOTS = 4
KILLS = 8
# The documented exceptions of a driver for a connection that breaks, in use or when opened.
DOCUMENTED = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)


class Bot:
    """A bot that trades, and records which of its trades were committed."""

    def __init__(self, engine: AsyncEngine, config: BotConfig) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._config = config
        self._numbers = itertools.count(1)
        self.committed: list[str] = []
        self.progress = asyncio.Event()
        self.failures = 0

    async def trade(self, *, break_connection: bool = False) -> None:
        """Insert a trade and tick the state, in one transaction."""
        order = f"BTCUSDT:{self._config.id}-{next(self._numbers)}"
        try:
            async with self._sessions.begin() as session:
                ids = {"bot_config_id": self._config.id, "user_id": self._config.user_id}
                session.add(Trade(**MINIMAL_ROWS["trades"] | ids, binance_order_id=order))
                state = await session.get_one(BotState, self._config.id)
                state.status = BotStatus.RUNNING
                # By the database, since a bot may have several trades at a time.
                state.daily_trades_count = BotState.daily_trades_count + 1
                await session.flush()
                if break_connection:
                    await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        except DOCUMENTED:
            self.failures += 1
        else:
            self.committed.append(order)
            self.progress.set()


KILL_A_CONNECTION = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'trading-bot'"
    " ORDER BY random() LIMIT 1"
)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """The application's engine, with fewer connections than there are bots."""
    engine = make_engine(database, pool_size=2, max_overflow=1)
    yield engine
    await engine.dispose()


async def test_trading_continues(
    engine: AsyncEngine, alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe_1", ADD_COLUMN.format("trades", "probe"))
    revisions.add("probe_2", CONCURRENT_INDEX)
    configs = [factories.bot_config(state=factories.bot_state()) for _ in range(BOTS)]
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(factories.user(bot_configs=configs))
        await session.commit()
    bots = [Bot(engine, config) for config in configs]
    stop = asyncio.Event()

    async def run(bot: Bot) -> None:
        while not stop.is_set():
            await bot.trade()

    async def committed_more() -> None:
        """Wait until every bot has committed another trade."""
        for bot in bots:
            bot.progress.clear()
        async with asyncio.timeout(30):
            await asyncio.gather(*(bot.progress.wait() for bot in bots))

    async with asyncio.TaskGroup() as tasks:
        for bot in bots:
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

    failures = sum(bot.failures for bot in bots)
    await bots[0].trade(break_connection=True)
    assert sum(bot.failures for bot in bots) == failures + 1

    # The pool returns only working connections, up to its limit.
    for bot in bots:
        await asyncio.gather(*(bot.trade() for _ in range(3)))
    assert sum(bot.failures for bot in bots) == failures + 1

    committed = {order for bot in bots for order in bot.committed}
    async with AsyncSession(engine) as session:
        stored = set(await session.scalars(select(Trade.binance_order_id)))
        assert committed <= stored
        # Each trade came with its tick: both or neither.
        ticks = await session.scalar(select(func.sum(BotState.daily_trades_count)))
        assert ticks == len(stored)
        # A commit may succeed although its acknowledgement is lost; there are no other trades.
        assert len(stored - committed) <= failures
