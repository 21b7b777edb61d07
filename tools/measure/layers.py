"""What SQLAlchemy adds to the time of a transaction, layer by layer."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from statistics import median, mode
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import queries
from models.database import make_engine
from tools.measure.writes import NUMBERS, in_turn, new_trades

ROUNDS = 400
KEY = "BTCUSDT:"
Transaction = Callable[[AsyncSession], Awaitable[object]]


async def measure(url: str) -> dict[str, dict[str, float]]:
    """Return the milliseconds of transactions through each layer and those below it."""
    plain, application = make_engine(url, pool_pre_ping=False), make_engine(url)
    reports = new_trades(url, 1_000)
    bot = mode(report["bot_config_id"] for report in reports)

    async def record(session: AsyncSession) -> object:
        return await queries.record_trade(session, reports[0] | {"binance_order_id": _key()})

    async def tick(session: AsyncSession) -> object:
        return (await session.execute(queries.tick(bot, max_price_since_entry=Decimal(9)))).all()

    async def page(session: AsyncSession) -> object:
        return (await session.scalars(queries.trades_of_bot(bot))).all()

    transactions = {"record_trade": record, "tick": tick, "page of 50": page}
    results = {
        name: await _through_layers(plain, application, transaction)
        for name, transaction in transactions.items()
    }
    await plain.dispose()
    await application.dispose()
    return results


async def _through_layers(
    plain: AsyncEngine, application: AsyncEngine, transaction: Transaction
) -> dict[str, float]:
    sent = await _sent(plain, transaction)
    connection = await plain.connect()
    raw: Any = (await connection.get_raw_connection()).driver_connection

    async def by_asyncpg() -> None:
        async with raw.transaction():
            for sql, parameters in sent:
                await raw.fetch(sql, *_with_new_key(parameters))

    async def by_engine() -> None:
        async with plain.begin() as connection:
            for sql, parameters in sent:
                (await connection.exec_driver_sql(sql, _with_new_key(parameters))).all()

    async def by_session(engine: AsyncEngine) -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            await transaction(session)

    layers = {
        "asyncpg": by_asyncpg,
        "engine": by_engine,
        "session": lambda: by_session(plain),
        "ping": lambda: by_session(application),
    }
    seconds = await in_turn(layers, ROUNDS)
    await connection.close()
    ratios = [a / b for a, b in zip(seconds["ping"], seconds["asyncpg"], strict=True)]
    times = {layer: round(1000 * median(runs), 2) for layer, runs in seconds.items()}
    return times | {"ratio": round(median(ratios), 1)}


async def _sent(
    engine: AsyncEngine, transaction: Transaction
) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the statements that SQLAlchemy hands to asyncpg, with their parameters."""
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def record(_: Any, __: Any, sql: str, parameters: tuple[Any, ...], *___: Any) -> None:
        sent.append((sql, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", record)
    async with AsyncSession(engine) as session, session.begin():
        await transaction(session)
    event.remove(engine.sync_engine, "before_cursor_execute", record)
    return sent


def _key() -> str:
    return f"{KEY}{next(NUMBERS)}"


def _with_new_key(parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    key = _key()
    return tuple(key if str(value).startswith(KEY) else value for value in parameters)
