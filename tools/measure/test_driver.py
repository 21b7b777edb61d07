"""What SQLAlchemy adds to the time of a transaction with one statement, layer by layer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Executable, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import queries
from models.database import make_engine
from models.queries import orders
from tests.support.data import Dataset
from tests.support.hot_queries import order_of
from tools.measure.conftest import Stage
from trading_bot_schema.drivers import asyncpg_arguments

ROUNDS = 400
Run = Callable[[], Awaitable[object]]


@pytest.fixture
def head(stages: dict[tuple[int, str], Stage], trades: int) -> Stage:
    return stages[trades, "head"]


@pytest.mark.parametrize("transaction", ["record_trade", "tick", "page of 50"])
def test_layers(benchmark: Any, dataset: Dataset, head: Stage, transaction: str) -> None:
    """Measure the layers alternately, so that other load on the machine affects all of them."""
    seconds = benchmark.pedantic(
        lambda: asyncio.run(measure(head.url, dataset, transaction)), rounds=1
    )
    benchmark.extra_info |= {"seconds": seconds}


async def measure(url: str, dataset: Dataset, transaction: str) -> Mapping[str, list[float]]:
    """Return the seconds of each run, by layer."""
    numbers = count(time.time_ns())
    bot = dataset.by_trades()[0][0]
    order = order_of(dataset, bot)

    def key() -> str:
        return f"BTCUSDT:{next(numbers)}"

    def new_order() -> dict[str, Any]:
        return order | {"binance_order_id": key()}

    def build() -> Executable:
        if transaction == "tick":
            return queries.tick(bot, max_price_since_entry=Decimal("65000.5"))
        return queries.trades_of_bot(bot)

    async def in_session(session: AsyncSession) -> object:
        if transaction == "record_trade":
            return await queries.record_trade(session, new_order())
        return (await session.scalars(build())).all()

    async with engines(url) as (engine, application, dialects_ping):
        sql, parameters = await sent_to_driver(engine, in_session)
        raw = await asyncpg.connect(**asyncpg_arguments(make_url(url)))

        def arguments() -> tuple[Any, ...]:
            return tuple(
                key() if str(value).startswith("BTCUSDT:") else value for value in parameters
            )

        async def by_asyncpg() -> None:
            async with raw.transaction():
                await raw.fetch(sql, *arguments())

        async def by_engine() -> None:
            async with engine.begin() as connection:
                (await connection.exec_driver_sql(sql, arguments())).all()

        async def by_core() -> None:
            async with engine.begin() as connection:
                if transaction == "record_trade":
                    (await connection.execute(orders.RECORD, new_order())).all()
                else:
                    (await connection.execute(build())).all()

        def by_session(of: AsyncEngine) -> Run:
            async def run() -> None:
                async with AsyncSession(of, expire_on_commit=False) as session, session.begin():
                    await in_session(session)

            return run

        layers: dict[str, Run] = {
            "asyncpg": by_asyncpg,
            "engine": by_engine,
            "statement": by_core,
            "session": by_session(engine),
            "ping": by_session(application),
            "dialect's ping": by_session(dialects_ping),
        }
        seconds: dict[str, list[float]] = {layer: [] for layer in layers}
        for _ in range(ROUNDS):
            for layer, run in layers.items():
                start = time.perf_counter()
                await run()
                seconds[layer].append(time.perf_counter() - start)
        await raw.close()
    return seconds


@asynccontextmanager
async def engines(url: str) -> AsyncIterator[list[AsyncEngine]]:
    """Yield engines: without a ping, the application's, and one with the dialect's own ping."""
    created = [make_engine(url, pool_pre_ping=False), make_engine(url), make_engine(url)]
    del created[-1].sync_engine.dialect.do_ping  # which make_engine() has replaced
    yield created
    for engine in created:
        await engine.dispose()


async def sent_to_driver(
    engine: AsyncEngine, run: Callable[[AsyncSession], Awaitable[object]]
) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL and the parameters that SQLAlchemy hands to asyncpg."""
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def record(_: Any, __: Any, sql: str, parameters: tuple[Any, ...], *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    async with AsyncSession(engine) as session, session.begin():
        await run(session)
    event.remove(engine.sync_engine, "before_cursor_execute", record)
    (statement,) = sent
    return statement
