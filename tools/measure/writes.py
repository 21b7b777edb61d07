"""The cost of inserts and ticks, which change the databases."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import count
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig
from models.database import make_engine
from models.queries import record_trade, record_trades, tick
from tools.measure.data import vacuum
from verification import databases

ROUNDS = 7
IMPORTED = 2_000
NUMBERS = count(time.time_ns())
"""Numbers of orders that are not in the database."""
Rows = list[dict[str, Any]]
Insert = Callable[[AsyncEngine, Any, Rows], Awaitable[None]]
"""Inserts rows through an engine, or through a connection of asyncpg."""
Run = Callable[[], Awaitable[float | None]]
"""Returns the seconds of what is compared, if that is not the whole run."""


async def in_turn(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Run each once a round; return the seconds, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            measured = await run()
            seconds[name].append(measured or time.perf_counter() - start)
    return seconds


def new_trades(url: str, number: int) -> Rows:
    """Return the first trades as new ones: with the keys of new orders, and of today."""
    query = text("SELECT * FROM trades ORDER BY id LIMIT :number")
    with databases.sync_engine(url).connect() as connection:
        rows = [dict(row) for row in connection.execute(query, {"number": number}).mappings()]
    for row in rows:
        del row["id"]
        row["timestamp"] = datetime.now(UTC)
        if row["binance_order_id"]:
            row["binance_order_id"] = f"{row['symbol'].replace('/', '')}:{next(NUMBERS)}"
    return rows


async def one_by_one(_: AsyncEngine, raw: Any, rows: Rows) -> None:
    """Insert with a commit for each."""
    insert = await raw.prepare(_insert(rows))
    for row in rows:
        await insert.fetch(*row.values())


async def in_batches(_: AsyncEngine, raw: Any, rows: Rows) -> None:
    """Insert with a commit for a thousand."""
    for start in range(0, len(rows), 1_000):
        values = [tuple(row.values()) for row in rows[start : start + 1_000]]
        await raw.executemany(_insert(rows), values)


async def by_copy(_: AsyncEngine, raw: Any, rows: Rows) -> None:
    """Insert all in one COPY."""
    values = (tuple(row.values()) for row in rows)
    await raw.copy_records_to_table("trades", records=values, columns=[*rows[0]])


async def singly(engine: AsyncEngine, _: Any, rows: Rows) -> None:
    """Record with a transaction for each."""
    for row in rows:
        async with AsyncSession(engine) as session, session.begin():
            await record_trade(session, row)


async def together(engine: AsyncEngine, _: Any, rows: Rows) -> None:
    """Record all in one call."""
    async with AsyncSession(engine) as session, session.begin():
        await record_trades(session, rows)


def _insert(rows: Rows) -> str:
    values = ", ".join(f"${number}" for number, _ in enumerate(rows[0], 1))
    return f"INSERT INTO trades ({', '.join(rows[0])}) VALUES ({values})"  # noqa: S608


INSERTS: Mapping[str, tuple[Insert, int]] = {
    "one by one": (one_by_one, 2_000),
    "in batches": (in_batches, 20_000),
    "by COPY": (by_copy, 100_000),
}
"""Ways to insert, each with a number of rows."""
IMPORTS = {"record_trade": singly, "record_trades": together}


def inserts(urls: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows per second of each way to insert, by revision."""
    for how, (insert, number) in INSERTS.items():
        runs = {name: partial(_seconds, insert, number, url) for name, url in urls.items()}
        yield {"how": how} | throughput(number, asyncio.run(in_turn(runs, ROUNDS)))


def imports(url: str) -> dict[str, float]:
    """Return the reports per second in a transaction for each, and in one call for all."""
    runs = {name: partial(_seconds, run, IMPORTED, url) for name, run in IMPORTS.items()}
    return throughput(IMPORTED, asyncio.run(in_turn(runs, ROUNDS)))


async def _seconds(insert: Insert, number: int, url: str) -> float:
    engine, rows = make_engine(url), new_trades(url, number)
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        start = time.perf_counter()
        await insert(engine, raw, rows)
        seconds = time.perf_counter() - start
    await engine.dispose()
    return seconds


def throughput(number: int, seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the rows per second of two ways, and how many times the second is as fast."""
    first, second = seconds.values()
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    speeds = {how: round(number / median(runs)) for how, runs in seconds.items()}
    return speeds | {"ratio": round(median(ratios), 2)}


def ticks(urls: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the share of ticks that wrote to no index, also where a snapshot retains old rows.

    Every running bot ticks once a round, in any order.
    """
    for snapshot in (False, True):
        for revision, url in urls.items():
            vacuum(url)
            engine = databases.sync_engine(url).execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection, psycopg.connect(url) as reader:
                if snapshot:
                    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    reader.execute("SELECT FROM bot_states")
                bots = [*connection.scalars(select(BotConfig.id).where(BotConfig.is_active))]
                before = _updates(connection)
                for _ in range(1 if snapshot else ROUNDS):
                    random.shuffle(bots)
                    for bot in bots:
                        price = random.randint(1, 9)  # noqa: S311
                        connection.execute(tick(bot, max_price_since_entry=price))
                after = _updates(connection)
            updates, heap_only = (b - a for a, b in zip(before, after, strict=True))
            beside = "beside a snapshot" if snapshot else "alone"
            share = round(heap_only / updates, 4)
            yield {"beside": beside, "revision": revision, "heap-only": share}


def _updates(connection: Connection) -> tuple[int, ...]:
    """Count the updates of bot states, and those that wrote to no index."""
    connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'bot_states'"
    return tuple(connection.exec_driver_sql(query).one())
