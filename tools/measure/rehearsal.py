"""A run of revisions beside the application's statements, and its measurements."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

import psycopg
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tools.measure.data import HotQueries
from tools.measure.traffic import Client, background, running
from verification import databases

WAITS_SECONDS, SIZES_SECONDS = 0.01, 0.25

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
                step.start = time.monotonic()
                try:
                    upgrade(databases.sync_engine(url))
                except (CommandError, SQLAlchemyError) as error:
                    step.error = str(error).partition("\n")[0]
                step.end = time.monotonic()
            time.sleep(settle)
            if step.error:
                break
    return Rehearsal(steps, {client.name: client for client in clients}, settle)


@contextmanager
def _sampled(url: str, step: Step) -> Iterator[None]:
    """Record the clients' waits for locks, and the sizes of database and WAL, during a step."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        [(first_size, first_wal, _)] = connection.execute(SIZES)

        def sample(stop: Event) -> None:
            done, next_sizes = False, 0.0
            while not done:
                done = stop.wait(WAITS_SECONDS)
                for name, seconds in connection.execute(WAITS):
                    step.blocked[name] = max(step.blocked.get(name, 0), seconds)
                if done or time.monotonic() > next_sizes:
                    [(size, wal, lag)] = connection.execute(SIZES)
                    step.disk_bytes = max(step.disk_bytes, size - first_size)
                    step.wal_bytes = wal - first_wal
                    step.lag = lag if step.lag is None else max(step.lag, lag or 0)
                    next_sizes = time.monotonic() + SIZES_SECONDS

        with background([sample]):
            yield
