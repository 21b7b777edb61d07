"""A run of revisions beside the application's statements, and its measurements."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psycopg
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from tools.measure.data import HotQueries
from tools.measure.traffic import Client, running
from verification import databases

SAMPLE_SECONDS = 0.01
SIZE_SECONDS = 0.25

# Waits that have not ended yet, by application_name.
WAITS = """
SELECT application_name, max(extract(epoch FROM clock_timestamp() - waitstart))::float
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND pg_stat_activity.datname = current_database()
GROUP BY application_name
"""
SIZES = """
SELECT pg_database_size(current_database()), (pg_current_wal_insert_lsn() - '0/0')::bigint,
    (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)::float
"""
Upgrade = Callable[[Engine], None]


@dataclass
class Step:
    """A revision, or a statement, that was run. Times are on the clock ``time.monotonic()``."""

    title: str
    start: float = 0
    end: float = 0
    error: str = ""
    statements: list[tuple[float, float]] = field(default_factory=list)
    """When each statement began and ended."""
    blocked: dict[str, float] = field(default_factory=dict)
    """Longest time in seconds that each client waited for a lock, to 10 ms."""
    wal_bytes: int = 0
    """WAL written during the step, including that of the clients."""
    disk_bytes: int = 0
    """Largest growth of the database."""
    lag: float | None = None
    """Largest replay lag of a standby in seconds; None without a standby."""


@dataclass
class Rehearsal:
    """What was measured."""

    steps: list[Step]
    clients: dict[str, Client]
    settle: float
    """Seconds before and after each step that are compared with it."""

    def latencies(self, step: Step, client: str) -> tuple[list[float], list[float], list[float]]:
        """Return the seconds of a client's runs that were due before, during and after a step."""
        before, after = step.start - self.settle, step.end + self.settle
        runs = self.clients[client].runs if client in self.clients else []

        def due(start: float, end: float) -> list[float]:
            return [seconds for moment, seconds, _ in runs if start <= moment < end]

        return due(before, step.start), due(step.start, step.end), due(step.end, after)

    def failures(self, step: Step) -> int:
        """Count the failed runs of all clients, from its start."""
        runs = (run for client in self.clients.values() for run in client.runs)
        end = step.end + self.settle
        return sum(failed for due, _, failed in runs if step.start <= due < end)


def rehearse(
    url: str,
    upgrades: Mapping[str, Upgrade],
    hot_queries: HotQueries,
    rate: float,
    settle: float,
    show: Callable[[str], None],
) -> Rehearsal:
    """Run upgrades, by title, in turn, beside the clients; one that fails is the last."""
    steps = []
    with running(url, hot_queries, rate) as clients:
        time.sleep(settle)
        for title, upgrade in upgrades.items():
            show(title)
            step = Step(title)
            steps.append(step)
            with _sampled(url, step):
                _run(url, upgrade, step)
            time.sleep(settle)
            if step.error:
                break
    return Rehearsal(steps, {client.name: client for client in clients}, settle)


def _run(url: str, upgrade: Upgrade, step: Step) -> None:
    """Run an upgrade, and record when each of its statements ran."""
    engine = databases.sync_engine(url)

    @event.listens_for(engine, "before_cursor_execute")
    def before(connection: Connection, *_: Any) -> None:
        connection.info["started"] = time.monotonic()

    @event.listens_for(engine, "after_cursor_execute")
    def after(connection: Connection, *_: Any) -> None:
        step.statements.append((connection.info["started"], time.monotonic()))

    step.start = time.monotonic()
    try:
        upgrade(engine)
    except (CommandError, SQLAlchemyError) as error:
        step.error = str(error).partition("\n")[0]
    step.end = time.monotonic()


@contextmanager
def _sampled(url: str, step: Step) -> Iterator[None]:
    """Record the clients' waits for locks, and the sizes of database and WAL, during a step."""
    stop, ready = Event(), Event()

    def waits() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
            while not stop.wait(SAMPLE_SECONDS):
                for name, seconds in connection.execute(WAITS):
                    step.blocked[name] = max(step.blocked.get(name, 0), seconds)

    def sizes() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            size, wal, _ = connection.execute(SIZES).fetchone() or (0, 0, None)
            ready.set()
            done = False
            while not done:
                done = stop.wait(SIZE_SECONDS)
                new_size, new_wal, lag = connection.execute(SIZES).fetchone() or (0, 0, None)
                step.disk_bytes = max(step.disk_bytes, new_size - size)
                step.wal_bytes = new_wal - wal
                if lag is not None:
                    step.lag = max(step.lag or 0, lag)

    threads = [Thread(target=waits), Thread(target=sizes)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
