"""A run of revisions while the canaries run, and its measurements."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import quantiles
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, event

from tests.support.data import Dataset
from tools.measure.rehearse.canaries import Canary, running
from trading_bot_schema.url import ENVIRONMENT_VARIABLE

SAMPLE_SECONDS = 0.01
MEASURE_SECONDS = 0.25

# Waits that have not ended yet, by canary: its application_name.
WAITING = """
SELECT application_name, max(extract(epoch FROM clock_timestamp() - waitstart))::float
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND pid <> pg_backend_pid()
    AND pg_stat_activity.datname = current_database()
GROUP BY application_name
"""
SIZES = """
SELECT pg_database_size(current_database()), (pg_current_wal_insert_lsn() - '0/0')::bigint,
    (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)::float
"""


@dataclass(frozen=True)
class Statement:
    """A statement of a revision."""

    sql: str
    start: float
    end: float


@dataclass
class Step:
    """A revision that was run."""

    name: str
    title: str
    start: float = 0
    end: float = 0
    error: str | None = None
    statements: list[Statement] = field(default_factory=list)
    blocked: dict[str, float] = field(default_factory=dict)
    """Longest time in seconds that each canary waited for a lock, to 10 ms."""
    wal_bytes: int = 0
    """WAL written during the step, including that of the canaries."""
    disk_bytes: int = 0
    """Largest growth of the database."""
    lag: float | None = None
    """Largest replay lag of a standby in seconds; None without a standby."""


@dataclass
class Rehearsal:
    """What was measured. Times are in seconds since the canaries began."""

    steps: list[Step]
    samples: dict[str, list[tuple[float, float, bool]]]
    """By canary: when each run was due, its seconds, and whether it failed."""
    settle: float
    """Seconds before and after each step that are compared with it."""

    def during(self, step: Step, canary: str) -> list[float]:
        """Return the seconds of each run that was due in a step."""
        return self._between(canary, step.start, step.end)

    def before(self, step: Step, canary: str) -> list[float]:
        """Return the seconds of each run that was due before it."""
        return self._between(canary, step.start - self.settle, step.start)

    def after(self, step: Step, canary: str) -> list[float]:
        """Return the seconds of each run that was due after it."""
        return self._between(canary, step.end, step.end + self.settle)

    def failures(self, step: Step) -> int:
        """Count the failed runs of all canaries, from its start."""
        return sum(
            failed
            for samples in self.samples.values()
            for due, _, failed in samples
            if step.start <= due < step.end + self.settle
        )

    def _between(self, canary: str, start: float, end: float) -> list[float]:
        return [seconds for due, seconds, _ in self.samples.get(canary, ()) if start <= due < end]


Form = tuple[str, Rehearsal | None, Rehearsal]
"""An operation of the guide: its title, its dangerous form if it has one, and its safe one."""


def percentiles(seconds: list[float]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the maximum."""
    if len(seconds) < 2:
        return (seconds or [0.0])[0], (seconds or [0.0])[0], (seconds or [0.0])[0]
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[98], max(seconds)


def rehearse(
    url: str,
    config: Config,
    revisions: Mapping[str, str],
    dataset: Dataset | None,
    trades: int,
    *,
    rate: float = 10,
    settle: float = 5,
    without: Collection[str] = (),
    show: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Run revisions, by name and title, in turn, while the canaries run.

    The canaries do not use the tables and columns in ``without``. A revision that fails is the
    last one to run.
    """
    steps = []
    with running(url, dataset, trades, rate, without) as canaries:
        began = time.monotonic()
        time.sleep(settle)
        for name, title in revisions.items():
            show(f"{name} {title}")
            step = Step(name, title)
            steps.append(step)
            with _measured(url, step, {canary.name for canary in canaries}):
                step.start = time.monotonic()
                _upgrade(url, config, step)
                step.end = time.monotonic()
            time.sleep(settle)
            if step.error:
                break
    return _since(began, steps, canaries, settle)


def _since(began: float, steps: list[Step], canaries: list[Canary], settle: float) -> Rehearsal:
    for step in steps:
        step.start, step.end = step.start - began, step.end - began
        step.statements = [
            Statement(one.sql, one.start - began, one.end - began) for one in step.statements
        ]
    samples = {
        canary.name: [(one.due - began, one.seconds, one.failed) for one in canary.samples]
        for canary in canaries
    }
    return Rehearsal(steps, samples, settle)


def _upgrade(url: str, config: Config, step: Step) -> None:
    """Run a revision as the command line does, and record its statements."""
    started: list[float] = []

    def before(*_: Any) -> None:
        if current_thread() is main_thread():
            started.append(time.monotonic())

    def after(_: Any, __: Any, sql: str, *___: Any) -> None:
        if current_thread() is main_thread() and started:
            short = " ".join(sql.split())
            step.statements.append(Statement(short, started.pop(), time.monotonic()))

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    previous = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = url
    try:
        command.upgrade(config, step.name)
    except CommandError as error:
        step.error = str(error)
    finally:
        if previous is None:
            del os.environ[ENVIRONMENT_VARIABLE]
        else:
            os.environ[ENVIRONMENT_VARIABLE] = previous
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "after_cursor_execute", after)


@contextmanager
def _measured(url: str, step: Step, names: set[str]) -> Iterator[None]:
    """Record the canaries' waits for locks, and the sizes of database and WAL, during a step."""
    stop = Event()

    def sample_waits() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
            while not stop.wait(SAMPLE_SECONDS):
                for name, seconds in connection.execute(WAITING):
                    if name in names:
                        step.blocked[name] = max(step.blocked.get(name, 0), seconds)

    def sample_sizes() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            size, wal, _ = _sizes(connection)
            ready.set()
            while True:
                done = stop.wait(MEASURE_SECONDS)
                now = _sizes(connection)
                step.disk_bytes = max(step.disk_bytes, now[0] - size)
                step.wal_bytes = now[1] - wal
                if now[2] is not None:
                    step.lag = max(step.lag or 0, now[2])
                if done:
                    return

    ready = Event()
    threads = [Thread(target=sample_waits), Thread(target=sample_sizes)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _sizes(connection: psycopg.Connection[Any]) -> tuple[int, int, float | None]:
    ((size, wal, lag),) = connection.execute(SIZES).fetchall()
    return size, wal, lag
