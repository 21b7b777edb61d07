"""The application's statements, run at a fixed rate while revisions run."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle
from threading import Event, Thread

from sqlalchemy import (
    ColumnElement,
    Engine,
    MetaData,
    Table,
    create_engine,
    literal,
    make_url,
    pool,
    select,
    tuple_,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.base import Executable

from tools.measure.data import HotQueries

READ, WRITE, HOT = "read of", "write to", "hot queries"


@dataclass
class Client:
    """A statement that is run repeatedly, on a connection of its own."""

    name: str
    """Also its ``application_name``."""
    make: Callable[[], Executable]
    rate: float
    """Runs per second."""
    runs: list[tuple[float, float, bool]] = field(default_factory=list)
    """When each was due (``time.monotonic()``), the seconds to its end, and whether it failed."""

    def repeat(self, url: str, due: float, stop: Event) -> None:
        """Run the statement from a moment on, until ``stop`` is set."""
        engine = _engine(url, self.name)
        engine.connect().close()
        while not stop.wait(max(due - time.monotonic(), 0)):
            failed = False
            try:
                with engine.connect() as connection:
                    result = connection.execute(self.make())
                    if result.returns_rows:
                        result.all()
                    if self.name != HOT:
                        connection.commit()
            except SQLAlchemyError:
                failed = True
            self.runs.append((due, time.monotonic() - due, failed))
            due += 1 / self.rate
        engine.dispose()


@contextmanager
def running(url: str, hot_queries: HotQueries, rate: float) -> Iterator[list[Client]]:
    """Run a read of and a write to each table in the background, and the hot queries in turn.

    Each of the reads and writes runs ``rate`` times a second, the hot queries a fifth as often.
    """
    clients = list(_clients(url, hot_queries, rate))
    now = time.monotonic()
    dues = (now + number / len(clients) / rate for number, _ in enumerate(clients))
    with background([partial(c.repeat, url, due) for c, due in zip(clients, dues, strict=True)]):
        yield clients


@contextmanager
def background(targets: Iterable[Callable[[Event], None]]) -> Iterator[None]:
    """Run functions in threads, until the event that they are given is set at the end."""
    stop = Event()
    threads = [Thread(target=target, args=(stop,)) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _clients(url: str, hot_queries: HotQueries, rate: float) -> Iterator[Client]:
    hot = cycle(hot_queries.values())
    if hot_queries:
        yield Client(HOT, lambda: next(hot), rate / 5)
    engine = _engine(url, "rehearsal")
    metadata = MetaData()
    metadata.reflect(engine)  # The columns are those before the revisions, as old code has them.
    for table in metadata.sorted_tables:
        key = [*table.primary_key]
        latest = select(*key).order_by(*(column.desc() for column in key)).limit(1000)
        with engine.connect() as connection:
            keys = [tuple(row) for row in connection.execute(latest)]
        if keys and table.name != "alembic_version":
            yield from _clients_of(table, keys, rate)
    engine.dispose()


def _clients_of(table: Table, keys: list[tuple[object, ...]], rate: float) -> Iterator[Client]:
    """Yield a read of a random row, and a write: a copy of one for trades, else an update."""
    choose = random.Random(1).choice  # noqa: S311 - not a secret
    names = [column.name for column in table.columns if not column.primary_key]
    orders = count(time.time_ns())  # different from those of earlier rehearsals

    def chosen() -> ColumnElement[bool]:
        return tuple_(*table.primary_key) == choose(keys)

    def update() -> Executable:
        return table.update().where(chosen()).values({names[-1]: table.c[names[-1]]})

    def insert() -> Executable:
        order = literal(f"REHEARSAL:{next(orders)}")
        row = select(*(order if name == "binance_order_id" else table.c[name] for name in names))
        return table.insert().from_select(names, row.where(chosen()))

    yield Client(f"{READ} {table.name}", lambda: select(table).where(chosen()), rate)
    yield Client(f"{WRITE} {table.name}", insert if table.name == "trades" else update, rate)


def _engine(url: str, name: str) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"application_name": name},
        poolclass=pool.QueuePool,
        pool_size=1,
        hide_parameters=True,
    )
