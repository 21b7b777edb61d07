"""What SQLAlchemy adds to the time of a transaction, layer by layer."""

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
from models.database import connect_arguments, make_engine
from models.order_key import order_key
from tests.support.data import START, Dataset
from tests.support.hot_queries import order_of
from tools.measure.conftest import Stage

ROUNDS = 400
ALL = Decimal(10) ** 9
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

    def key() -> str:
        return order_key(dataset.symbols[bot - 1], next(numbers))

    async def in_session(session: AsyncSession) -> object:
        if transaction == "record_trade":
            report = order_of(dataset, bot, START, key())
            # So that the bot stays flat, and its position does not grow with each run.
            return await queries.record_trade(session, report, dust=ALL, since=START)
        if transaction == "tick":
            await queries.tick(session, bot, max_price_since_entry=Decimal("65000.5"))
            return None
        return (await session.scalars(queries.trades_of_bot(bot))).all()

    def renewed(value: Any) -> Any:
        return key() if str(value).endswith(recorded) else value

    async with engines(url) as (engine, application, dialects_ping):
        statements, sent = await executed(engine, in_session)
        recorded = f":{next(numbers) - 1}"
        raw = await asyncpg.connect(**connect_arguments(make_url(url)))

        async def by_asyncpg() -> None:
            async with raw.transaction():
                for sql, parameters in sent:
                    await raw.fetch(sql, *map(renewed, parameters))

        async def by_engine() -> None:
            async with engine.begin() as connection:
                for sql, parameters in sent:
                    result = await connection.exec_driver_sql(sql, tuple(map(renewed, parameters)))
                    if result.returns_rows:
                        result.all()

        async def by_core() -> None:
            async with engine.begin() as connection:
                for statement, parameters in statements:
                    values = {name: renewed(value) for name, value in parameters.items()}
                    result = await connection.execute(statement, values)
                    if result.returns_rows:
                        result.all()

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


async def executed(
    engine: AsyncEngine, run: Callable[[AsyncSession], Awaitable[object]]
) -> tuple[list[tuple[Executable, dict[str, Any]]], list[tuple[str, tuple[Any, ...]]]]:
    """Return the statements that are executed, and what SQLAlchemy hands to asyncpg."""
    statements: list[tuple[Executable, dict[str, Any]]] = []
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def execute(_: Any, statement: Any, __: Any, parameters: Any, ___: Any) -> None:
        statements.append((statement, dict(parameters)))

    def send(_: Any, __: Any, sql: str, parameters: tuple[Any, ...], *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(engine.sync_engine, "before_execute", execute)
    event.listen(engine.sync_engine, "before_cursor_execute", send)
    async with AsyncSession(engine) as session, session.begin():
        await run(session)
    event.remove(engine.sync_engine, "before_execute", execute)
    event.remove(engine.sync_engine, "before_cursor_execute", send)
    return statements, sent
