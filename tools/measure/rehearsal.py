"""Revisions run beside the application's statements: the tables in ``docs/rehearsal.md``."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from statistics import quantiles
from threading import Event

import psycopg
from alembic.util import CommandError
from sqlalchemy import Engine, MetaData, create_engine, make_url, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.base import Executable

from tools.markdown import table
from tools.measure.data import PROJECT, HotQueries
from verification import databases

READ, WRITE, HOT = "read ", "write ", "hot queries"
# Runs of each client in a second.
RATE = 10
SAMPLE_SECONDS = 0.02
# Waits that have not ended yet, by application_name.
WAITS = """
SELECT application_name, max(extract(epoch FROM clock_timestamp() - waitstart))::float
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND pg_stat_activity.datname = current_database()
GROUP BY application_name
"""
SIZES = "SELECT pg_database_size(current_database()), pg_current_wal_insert_lsn() - '0/0'"
Upgrade = Callable[[Engine], None]
# When a statement was due on the clock of the steps, the seconds to its end, and if it failed.
Run = tuple[float, float, bool]


@dataclass
class Step:
    """A revision, or a statement, that was run. Times are on the clock ``time.monotonic()``.

    Attributes:
        blocked: Longest time in seconds that each client waited for a lock.
        wal: Bytes of WAL written during the step, including that of the clients.
        disk: Largest growth of the database in bytes.
    """

    title: str
    start: float = 0
    end: float = 0
    error: str = ""
    blocked: dict[str, float] = field(default_factory=dict)
    wal: int = 0
    disk: int = 0


def rehearse(
    url: str,
    upgrades: Mapping[str, Upgrade],
    hot_queries: HotQueries,
    settle: float,
    show: Callable[[str], None],
) -> Iterator[str]:
    """Run upgrades, by title, in turn, beside the clients, and yield the lines of a table.

    An upgrade that fails is the last.

    Args:
        url: A database.
        upgrades: What to run.
        hot_queries: Statements that one of the clients runs in turn.
        settle: Seconds before and after each upgrade that are compared with it.
        show: Called with each title.
    """
    clients = _clients(url)
    names = [name.removeprefix(READ) for name in clients if name.startswith(READ)]
    if hot_queries:
        clients[HOT] = [*hot_queries.values()]
    runs: list[Run] = []
    steps = []
    interval = 1 / RATE / len(clients)
    targets = [
        partial(_repeat, url, name, statements, runs, time.monotonic() + number * interval)
        for number, (name, statements) in enumerate(clients.items())
    ]
    with background(targets):
        time.sleep(settle)
        for title, upgrade in upgrades.items():
            show(title)
            step = Step(title)
            steps.append(step)
            with _sampled(url, step):
                step.start = time.monotonic()
                try:
                    upgrade(databases.sync_engine(url))
                except (CommandError, SQLAlchemyError) as error:
                    step.error = str(error).partition("\n")[0]
                step.end = time.monotonic()
            time.sleep(settle)
            if step.error:
                break
    yield from table(
        f"step | seconds: | {' | '.join(f'{name}:' for name in names)} | failed:"
        " | before, ms: | during: | after: | WAL: | disk:",
        (_row(step, names, runs, settle) for step in steps),
    )


@contextmanager
def background(targets: Sequence[Callable[[Event], None]]) -> Iterator[None]:
    """Run functions in threads, until the event that they are given is set at the end."""
    stop = Event()
    with ThreadPoolExecutor(len(targets)) as threads:
        results = [threads.submit(target, stop) for target in targets]
        try:
            yield
        finally:
            stop.set()
    for result in results:
        result.result()


def _clients(url: str) -> dict[str, Sequence[Executable]]:
    """Return statements that read and that write the last row of each table, by name."""
    clients: dict[str, Sequence[Executable]] = {}
    metadata = MetaData()
    # The columns are those before the revisions, as old code has them.
    metadata.reflect(
        databases.sync_engine(url), only=lambda name, _: name != PROJECT.version_table
    )
    for one in metadata.sorted_tables:
        key = tuple_(*one.primary_key)
        is_last = key.in_(select(*key).order_by(*(column.desc() for column in key)).limit(1))
        name = one.columns.keys()[-1]
        write = one.update().where(is_last).values({name: one.c[name]})
        clients |= {f"{READ}{one}": [select(one).where(is_last)], f"{WRITE}{one}": [write]}
    return clients


def _repeat(
    url: str, name: str, statements: Sequence[Executable], runs: list[Run], due: float, stop: Event
) -> None:
    """Run the statements in turn, from a moment on, on a connection of its own."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"application_name": name},
        pool_size=1,
        hide_parameters=True,
    )
    engine.connect().close()
    for statement in cycle(statements):
        if stop.wait(max(due - time.monotonic(), 0)):
            break
        failed = False
        try:
            with engine.connect() as connection:
                result = connection.execute(statement)
                if result.returns_rows:
                    result.all()
                if name != HOT:
                    connection.commit()
        except SQLAlchemyError:
            failed = True
        runs.append((due, time.monotonic() - due, failed))
        due += 1 / RATE
    engine.dispose()


@contextmanager
def _sampled(url: str, step: Step) -> Iterator[None]:
    """Record the clients' waits for locks, and the sizes of database and WAL, during a step."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        [(first_size, first_wal)] = connection.execute(SIZES)

        def sample(stop: Event) -> None:
            done = False
            while not done:
                done = stop.wait(SAMPLE_SECONDS)
                for name, seconds in connection.execute(WAITS):
                    step.blocked[name] = max(step.blocked.get(name, 0), seconds)
                [(size, wal)] = connection.execute(SIZES)
                step.disk = max(step.disk, size - first_size)
                step.wal = int(wal - first_wal)

        with background([sample]):
            yield


def _row(step: Step, names: list[str], runs: list[Run], settle: float) -> Iterator[str]:
    yield f"{step.title} **{step.error}**" if step.error else step.title
    yield f"{step.end - step.start:.2f}"
    for name in names:
        waits = (step.blocked.get(f"{access}{name}", 0) for access in (READ, WRITE))
        yield " / ".join(f"{1000 * seconds:.0f}" for seconds in waits)
    before, after = step.start - settle, step.end + settle
    yield f"{sum(failed for due, _, failed in runs if step.start <= due < after)}"
    for start, end in ((before, step.start), (step.start, step.end), (step.end, after)):
        yield _latencies([1000 * seconds for due, seconds, _ in runs if start <= due < end])
    yield f"{step.wal / 2**20:.0f} MB"
    yield f"{step.disk / 2**20:.0f} MB"


def _latencies(milliseconds: list[float]) -> str:
    """Return the median, the 99th percentile and the maximum."""
    cuts = quantiles([*milliseconds, *milliseconds] or [0, 0], n=100, method="inclusive")
    return f"{cuts[49]:.0f} / {cuts[98]:.0f} / {max(milliseconds, default=0):.0f}"
