"""The application's statements, run at a fixed rate during a rehearsal."""

import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count, cycle
from threading import Event, Thread
from typing import Any

from sqlalchemy import Engine, create_engine, func, insert, make_url, pool, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.base import Executable

from models import ApiKey, Base, BotConfig, Trade, User
from models.queries.scheduling import tick_statement
from tests.support.data import START, Dataset
from tests.support.hot_queries import bound, hot_queries, order_of

READ, WRITE, HOT = "read of", "write to", "hot queries"
TABLES = ("users", "api_keys", "bot_configs", "bot_states", "trades")
MODELS: Mapping[str, Any] = {model.__tablename__: model for model in Base.__subclasses__()}

PRICE = {"max_price_since_entry": Decimal("65000.5")}

Make = Callable[[], Executable]


@dataclass(frozen=True)
class Sample:
    """One run of a statement."""

    due: float
    """When it was to begin, in seconds on the clock of ``time.monotonic()``."""
    seconds: float
    """From then to its end, which includes waiting for the previous statement."""
    failed: bool


@dataclass
class Canary:
    """A statement that is run repeatedly, on its own connection."""

    name: str
    make: Make
    commits: bool
    share: float = 1
    """Its rate, as a fraction of that of the others."""
    samples: list[Sample] = field(default_factory=list)


class ExistingData(Dataset):
    """The parameters of the hot queries, in a database with any data."""

    def __init__(self, engine: Engine) -> None:
        """Read the latest trades."""
        latest = select(Trade).order_by(Trade.id.desc()).limit(100_000).subquery()
        with engine.connect() as connection:
            self._busy = tuple(
                list(
                    connection.scalars(
                        select(column).group_by(column).order_by(func.count().desc())
                    )
                )
                or [1]
                for column in (latest.c.bot_config_id, latest.c.user_id)
            )
            bots = connection.execute(
                select(BotConfig.id, BotConfig.user_id, BotConfig.symbol, BotConfig.is_active)
            ).all()
            self._last = connection.scalar(select(func.max(Trade.timestamp)))
        size = max((bot.id for bot in bots), default=1)
        self.owners, self.symbols = [1] * size, ["BTC/USDT"] * size
        for bot in bots:
            self.owners[bot.id - 1], self.symbols[bot.id - 1] = bot.user_id, bot.symbol
        self.running = [bot.id for bot in bots if bot.is_active] or [1]

    def by_trades(self) -> tuple[list[int], list[int]]:
        """Return bots, and users, the busiest first."""
        return self._busy[0], self._busy[1]

    def last_day(self, trades: int) -> Any:
        """Return when the day of the last trade begins."""
        last = self._last or START
        return last.replace(hour=0, minute=0, second=0, microsecond=0)

    def last_buyer(self, trades: int) -> tuple[int, Decimal, Decimal]:
        """Return the busiest bot, with a change of nothing."""
        return self._busy[0][0], Decimal(0), Decimal(0)

    def order_id(self, number: int) -> str | None:
        """Return the key of a trade's order."""
        return f"BTCUSDT:{number}"


def canaries(
    engine: Engine, dataset: Dataset | None, trades: int, without: Collection[str] = ()
) -> list[Canary]:
    """Return a read and a write of each table, and one canary that runs the hot queries in turn.

    They do not use the tables and columns (``trades``, ``trades.pnl``) in ``without``.
    """
    dataset = dataset or ExistingData(engine)
    with engine.connect() as connection:
        ids = {
            name: connection.scalars(select(model.id).order_by(model.id.desc()).limit(1000)).all()
            for name, model in MODELS.items()
        }
    draw = random.Random(1).choice  # noqa: S311 - not a secret
    hot = cycle(
        [each for each in hot_queries(dataset, trades).values() if not _uses(each, without)]
    )
    selected = [Canary(HOT, lambda: next(hot), commits=False, share=0.2)]
    used = [name for name in TABLES if ids[name] and name not in without]
    for name in used:
        table = MODELS[name].__table__
        columns = [column for column in table.columns if f"{name}.{column.name}" not in without]
        selected.append(Canary(f"{READ} {name}", _read(columns, draw, ids[name]), commits=True))
    bots = ids["bot_states"]
    orders = count(time.time_ns())  # so that the keys differ from those of earlier rehearsals

    def trade() -> Executable:
        report = order_of(dataset, draw(bots), START, f"CANARY:{next(orders)}")
        fee = {"commission_amount": Decimal("0.000001"), "commission_asset": "BNB"}
        row: dict[str, Any] = {**report, **fee}
        return insert(Trade).values(
            {name: row[name] for name in row if f"trades.{name}" not in without}
        )

    def rewrite(model: Any, column: str) -> Make:
        name = model.__tablename__
        return lambda: (
            update(model)
            .where(model.id == draw(ids[name]))
            .values({column: getattr(model, column)})
        )

    writes: dict[str, Make] = {
        "users": rewrite(User, "is_active"),
        "api_keys": rewrite(ApiKey, "is_valid"),
        "bot_configs": rewrite(BotConfig, "name"),
        "bot_states": lambda: bound(tick_statement(frozenset(PRICE)), PRICE | {"bot": draw(bots)}),
        "trades": trade,
    }
    if bots and "trades" not in (*used, *without):
        used.append("trades")
    return selected + [Canary(f"{WRITE} {name}", writes[name], commits=True) for name in used]


def _read(
    columns: Sequence[Any], draw: Callable[[Sequence[int]], int], ids: Sequence[int]
) -> Make:
    return lambda: select(*columns).where(columns[0] == draw(ids))


def _uses(statement: Executable, names: Collection[str]) -> bool:
    sql = str(statement)
    return any(re.search(rf"\b{name.rpartition('.')[2]}\b", sql) for name in names)


@contextmanager
def running(
    url: str, dataset: Dataset | None, trades: int, rate: float, without: Collection[str] = ()
) -> Iterator[list[Canary]]:
    """Run all canaries in the background, each ``rate`` times a second."""
    engine = _engine(url, "rehearsal")
    selected = canaries(engine, dataset, trades, without)
    engine.dispose()
    stop = Event()
    threads = [
        Thread(
            target=_repeat,
            args=(canary, url, rate * canary.share, number / len(selected) / rate, stop),
        )
        for number, canary in enumerate(selected)
    ]
    for thread in threads:
        thread.start()
    try:
        yield selected
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _repeat(canary: Canary, url: str, rate: float, offset: float, stop: Event) -> None:
    engine = _engine(url, canary.name)
    engine.connect().close()
    due = time.monotonic() + offset
    while not stop.wait(max(due - time.monotonic(), 0)):
        failed = False
        try:
            with engine.connect() as connection:
                result = connection.execute(canary.make())
                if result.returns_rows:
                    result.all()
                if canary.commits:
                    connection.commit()
        except SQLAlchemyError:
            failed = True
        canary.samples.append(Sample(due, time.monotonic() - due, failed))
        due += 1 / rate
    engine.dispose()


def _engine(url: str, name: str) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"application_name": name},
        poolclass=pool.QueuePool,
        pool_size=1,
        hide_parameters=True,
    )
