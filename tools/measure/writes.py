"""The cost of writes, which change the databases, and what the application adds to the driver."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from statistics import median, mode
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig
from models.database import make_engine
from models.queries import record_trade, record_trades, tick, ticks, trades_of_bot
from tools.measure.data import vacuum
from verification import databases

ROUNDS = 5
TRANSACTIONS = 400
# Numbers of orders that are not in the database.
NUMBERS = count(time.time_ns())
KEY = "BTCUSDT:"
DUST = Decimal("1e-5")
FIRST = "SELECT * FROM trades ORDER BY id LIMIT %s"
# Of different bots, as no position has thousands of trades.
OF_EACH_BOT = """
SELECT last.* FROM bot_configs CROSS JOIN LATERAL (
    SELECT * FROM trades WHERE bot_config_id = bot_configs.id ORDER BY timestamp DESC LIMIT 1
) AS last WHERE is_active LIMIT %s
"""
Rows = list[Any]
Statement = tuple[str, tuple[Any, ...]]
# Returns the seconds of what is compared, if that is not the whole run.
Run = Callable[[], Awaitable[float | None]]
Write = Callable[[AsyncEngine, Rows], Awaitable[None]]
Call = Callable[[AsyncSession, Any], Awaitable[object]]


async def in_turn(first: Run, second: Run, rounds: int) -> tuple[float, float, float]:
    """Run two in turn; return their median seconds, and the median of the ratios of the pairs."""

    async def timed(run: Run) -> float:
        start = time.perf_counter()
        return await run() or time.perf_counter() - start

    pairs = [(await timed(first), await timed(second)) for _ in range(rounds)]
    ratio = median(one / other for one, other in pairs)
    return median(one for one, _ in pairs), median(other for _, other in pairs), ratio


def new_trades(url: str, number: int, query: LiteralString = FIRST) -> Rows:
    """Return trades as new ones: with the keys of new orders, and of today."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = connection.execute(query, [number]).fetchall()
    for row in rows:
        del row["id"]
        row["timestamp"] = datetime.now(UTC)
        if row["binance_order_id"]:
            row["binance_order_id"] = f"{row['symbol'].replace('/', '')}:{next(NUMBERS)}"
    return rows


def active_bots(url: str, number: int | None = None) -> Rows:
    """Return the ids of bots that are switched on."""
    with databases.sync_engine(url).connect() as connection:
        return [*connection.scalars(select(BotConfig.id).where(BotConfig.is_active).limit(number))]


async def in_batches(engine: AsyncEngine, rows: Rows, size: int) -> None:
    """Insert with a commit for each batch."""
    numbers = ", ".join(f"${number}" for number, _ in enumerate(rows[0], 1))
    insert = f"INSERT INTO trades ({', '.join(rows[0])}) VALUES ({numbers})"  # noqa: S608
    async with _driver(engine) as raw:
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            await raw.executemany(insert, [tuple(row.values()) for row in batch])


async def by_copy(engine: AsyncEngine, rows: Rows) -> None:
    """Insert all in one COPY."""
    values = (tuple(row.values()) for row in rows)
    async with _driver(engine) as raw:
        await raw.copy_records_to_table("trades", records=values, columns=[*rows[0]])


async def in_transaction(engine: AsyncEngine, argument: Any, call: Call) -> None:
    """Call a function of :mod:`models.queries` in a transaction of its own."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        await call(session, argument)


async def in_transactions(engine: AsyncEngine, rows: Rows, call: Call) -> None:
    """Call it for each row."""
    for row in rows:
        await in_transaction(engine, row, call)


async def tick_one(session: AsyncSession, bot: int) -> None:
    """Tick a bot."""
    await tick(session, bot, stop_loss_price=Decimal(bot))


async def tick_all(session: AsyncSession, bots: Rows) -> None:
    """Tick bots in one call."""
    await ticks(session, {bot: {"stop_loss_price": Decimal(bot)} for bot in bots})


# Ways to insert, each with a number of rows.
INSERTS: Mapping[str, tuple[Write, int]] = {
    "one by one": (partial(in_batches, size=1), 2_000),
    "in batches": (partial(in_batches, size=1_000), 20_000),
    "by COPY": (by_copy, 100_000),
}
CALLS: Mapping[str, tuple[Callable[..., Rows], int, Call, Call]] = {
    "2,000 orders: `record_trade`, `record_trades`": (
        partial(new_trades, query=OF_EACH_BOT),
        2_000,
        partial(record_trade, dust=DUST),
        partial(record_trades, dust=DUST),
    ),
    "rounds of 500 ticks: `tick`, `ticks`": (active_bots, 500, tick_one, tick_all),
}


def inserts(initial: str, head: str) -> Iterator[list[str]]:
    """Yield the rows per second of each way to insert, by revision, and their ratio."""
    for how, (write, number) in INSERTS.items():
        *speeds, ratio = compared(new_trades, number, (initial, write), (head, write))
        yield [how, *(f"{speed:,.0f}" for speed in speeds), f"{ratio:.0%}"]


def in_one_call(url: str) -> Iterator[list[str]]:
    """Yield the rows per second in a transaction for each, and in one call, and their ratio."""
    for what, (prepare, number, one, every) in CALLS.items():
        vacuum(url)
        *speeds, ratio = compared(
            prepare,
            number,
            (url, partial(in_transactions, call=one)),
            (url, partial(in_transaction, call=every)),
        )
        yield [what, *(f"{speed:,.0f}" for speed in speeds), f"{ratio:.1f}"]


def compared(
    prepare: Callable[[str, int], Rows],
    number: int,
    first: tuple[str, Write],
    second: tuple[str, Write],
) -> tuple[float, float, float]:
    """Return the rows per second of two ways, and how many times the second is as fast."""

    async def run(url: str, write: Write) -> float:
        engine, rows = make_engine(url), prepare(url, number)
        await (await engine.connect()).close()
        start = time.perf_counter()
        await write(engine, rows)
        seconds = time.perf_counter() - start
        await engine.dispose()
        return seconds / len(rows)

    one, other, ratio = asyncio.run(in_turn(partial(run, *first), partial(run, *second), ROUNDS))
    return 1 / one, 1 / other, ratio


async def over_driver(url: str) -> list[list[str]]:
    """Return the milliseconds of the SQL of transactions through asyncpg alone, and of all."""
    engine = make_engine(url)
    reports = new_trades(url, 1_000)
    bot = mode(report["bot_config_id"] for report in reports)

    async def record(session: AsyncSession, trade: Any) -> None:
        new = trade | {"symbol": "BTC/USDT", "binance_order_id": f"{KEY}{next(NUMBERS)}"}
        # So that the bot stays flat: its position would grow with each run.
        await record_trade(session, new, dust=Decimal(10) ** 9)

    async def page(session: AsyncSession, bot: int) -> None:
        (await session.scalars(trades_of_bot(bot))).all()

    rows = []
    for name, call, argument in (
        ("record_trade", record, reports[0]),
        ("tick", tick_one, bot),
        ("page of 50", page, bot),
    ):
        transaction = partial(in_transaction, engine, argument, call)
        sent = await _sent(engine, transaction)
        async with _driver(engine) as raw:
            replay = partial(_replay, raw, sent)
            whole, driver, ratio = await in_turn(transaction, replay, TRANSACTIONS)
        rows.append([name, f"{1000 * driver:.2f}", f"{1000 * whole:.2f}", f"{ratio:.1f}"])
    await engine.dispose()
    return rows


async def _replay(raw: Any, statements: list[Statement]) -> None:
    order = f"{KEY}{next(NUMBERS)}"
    async with raw.transaction():
        for sql, parameters in statements:
            await raw.fetch(sql, *(order if str(p).startswith(KEY) else p for p in parameters))


async def _sent(engine: AsyncEngine, run: Callable[[], Awaitable[None]]) -> list[Statement]:
    """Return the statements that SQLAlchemy hands to asyncpg."""
    sent: list[Statement] = []

    def record(_: Any, __: Any, sql: str, parameters: tuple[Any, ...], *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    await run()
    event.remove(engine.sync_engine, "before_cursor_execute", record)
    return sent


@asynccontextmanager
async def _driver(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Yield a connection of asyncpg itself."""
    async with engine.connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection
