"""The cost of inserts and ticks. They run after the reads, as they change the databases."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models.database import make_engine
from models.queries import record_trade, record_trades, tick
from tests.support.data import TRADE_COLUMNS, Dataset, vacuum
from tools.document.benchmarks import REVISIONS
from tools.measure.conftest import Stage
from trading_bot_schema.drivers import asyncpg_arguments
from verification import databases

INSERT = (
    f"INSERT INTO trades ({TRADE_COLUMNS}) VALUES ({', '.join(f'${n}' for n in range(1, 14))})"
)
ROUNDS = 7
IMPORTED = 2_000


def rows(dataset: Dataset, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    """Yield trades as values for asyncpg."""
    for line in dataset.trades(first, last):
        bot, user, order, symbol, side, kind, *amounts, fee, pnl, moment = line.split("\t")
        yield (
            *(int(bot), int(user), None if order == r"\N" else order, symbol, side, kind),
            *map(Decimal, amounts),
            fee,
            None if pnl == r"\N" else Decimal(pnl),
            datetime.fromisoformat(moment.strip()),
        )


async def one_by_one(url: str, trades: list[tuple[Any, ...]]) -> None:
    """Insert with a commit for each."""
    connection = await asyncpg.connect(**asyncpg_arguments(make_url(url)))
    insert = await connection.prepare(INSERT)
    for trade in trades:
        await insert.fetch(*trade)
    await connection.close()


async def in_batches(url: str, trades: list[tuple[Any, ...]]) -> None:
    """Insert with a commit for a thousand."""
    connection = await asyncpg.connect(**asyncpg_arguments(make_url(url)))
    for start in range(0, len(trades), 1_000):
        await connection.executemany(INSERT, trades[start : start + 1_000])
    await connection.close()


def by_copy(url: str, lines: str) -> None:
    """Insert all in one COPY."""
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY trades ({TRADE_COLUMNS}) FROM STDIN") as copy:
            copy.write(lines)


@pytest.mark.parametrize(
    ("how", "number"), [("one by one", 2_000), ("in batches", 20_000), ("by COPY", 100_000)]
)
def test_insert(
    benchmark: Any,
    dataset: Dataset,
    stages: dict[tuple[int, str], Stage],
    trades: int,
    how: str,
    number: int,
) -> None:
    """Measure both revisions alternately, so that other load on the machine affects both."""
    seconds: dict[str, list[float]] = {revision: [] for revision in REVISIONS}

    def insert(revision: str) -> None:
        stage = stages[trades, revision]
        first, last = stage.next_trade, stage.next_trade + number
        stage.next_trade = last
        lines = "".join(dataset.trades(first, last))
        values = list(rows(dataset, first, last))
        start = time.perf_counter()
        if how == "by COPY":
            by_copy(stage.url, lines)
        else:
            asyncio.run((one_by_one if how == "one by one" else in_batches)(stage.url, values))
        seconds[revision].append(time.perf_counter() - start)

    for revision in REVISIONS:
        with psycopg.connect(stages[trades, revision].url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def both() -> None:
        for revision in REVISIONS:
            insert(revision)

    benchmark.pedantic(both, rounds=ROUNDS)
    benchmark.extra_info |= {"inserts": number, "seconds": seconds}


def test_import(
    benchmark: Any, dataset: Dataset, stages: dict[tuple[int, str], Stage], trades: int
) -> None:
    """Measure one transaction per report and one call for all reports alternately."""
    stage = stages[trades, "head"]
    names = [column.strip() for column in TRADE_COLUMNS.split(",")]
    seconds: dict[str, list[float]] = {"record_trade": [], "record_trades": []}

    async def singly(engine: AsyncEngine, reports: list[dict[str, Any]]) -> None:
        for report in reports:
            async with AsyncSession(engine) as session, session.begin():
                await record_trade(session, report)

    async def together(engine: AsyncEngine, reports: list[dict[str, Any]]) -> None:
        async with AsyncSession(engine) as session, session.begin():
            await record_trades(session, reports)

    async def both() -> None:
        engine = make_engine(stage.url)
        for name, run in (("record_trade", singly), ("record_trades", together)):
            first, stage.next_trade = stage.next_trade, stage.next_trade + IMPORTED
            values = rows(dataset, first, stage.next_trade)
            reports = [dict(zip(names, row, strict=True)) for row in values]
            start = time.perf_counter()
            await run(engine, reports)
            seconds[name].append(time.perf_counter() - start)
        await engine.dispose()

    benchmark.pedantic(lambda: asyncio.run(both()), rounds=ROUNDS)
    benchmark.extra_info |= {"inserts": IMPORTED, "seconds": seconds}


@pytest.mark.parametrize("snapshot", [False, True], ids=["alone", "beside a snapshot"])
def test_tick(benchmark: Any, dataset: Dataset, stage: Stage, snapshot: bool) -> None:
    """Tick every running bot once a round; an open snapshot retains old versions of rows."""
    bots = list(dataset.running)
    engine = databases.sync_engine(stage.url).execution_options(isolation_level="AUTOCOMMIT")
    vacuum(stage.url)

    def run() -> None:
        random.shuffle(bots)
        for bot in bots:
            connection.execute(tick(bot, max_price_since_entry=random.randint(1, 9)))  # noqa: S311

    with engine.connect() as connection, psycopg.connect(stage.url) as reader:
        before = heap_only(connection)
        if snapshot:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT FROM bot_states")
        benchmark.pedantic(run, rounds=1 if snapshot else ROUNDS)
        after = heap_only(connection)
    benchmark.extra_info |= {
        "ticks": after[0] - before[0],
        "heap_only": after[1] - before[1],
    }


def heap_only(connection: Connection) -> tuple[int, int]:
    """Count the updates of bot states, and those that wrote to no index."""
    connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    counts = connection.exec_driver_sql(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'bot_states'"
    )
    updates, heap_only_updates = counts.one()
    return updates, heap_only_updates
