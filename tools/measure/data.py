"""Databases with generated trades, on a server with the durability of production."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, cast
from uuid import uuid4

from sqlalchemy import make_url
from sqlalchemy.sql.base import Executable

from tools import ROOT
from verification import databases, load, servers
from verification.project import Workload

PROJECT = load(ROOT)
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",  # It would run at any moment; vacuum() is called instead.
}


class LargeWorkload(Workload, Protocol):
    """The project's workload, as it is needed here."""

    def large(self, trades: int, progress: Callable[[range], Iterable[int]]) -> Workload:
        """Return one of the size of a backend's database, with a number of trades."""

    def statements_for(self, url: str) -> Mapping[str, Executable]:
        """Return the hot queries for a database with any rows."""


def workload() -> LargeWorkload:
    """Return the project's workload."""
    return cast("LargeWorkload", PROJECT.workload)


def filled(sizes: Iterable[int], **settings: str) -> Generator[tuple[int, str]]:
    """Yield each number of trades, and the URL of a database with them at the initial revision.

    The server is the one that ``TEST_DATABASE_URL`` names, else an embedded one with more
    settings. Ten million trades take two gigabytes, and half as much again at the head revision.
    """
    with servers.server(SETTINGS | settings) as server:
        for trades in sizes:
            with databases.database(server, f"measured_{uuid4().hex[:8]}") as url:
                PROJECT.migrate(url, PROJECT.history[0].revision)
                workload().large(trades, _progress).fill(url)
                vacuum(url)
                yield trades, url


@contextmanager
def copied(url: str) -> Iterator[str]:
    """Yield the URL of a copy of a database, and drop it."""
    with databases.database(url, f"copy_{uuid4().hex[:8]}", str(make_url(url).database)) as copy:
        yield copy


def vacuum(url: str) -> None:
    """Vacuum and analyze a database, as autovacuum would have."""
    # Rows are marked as visible to all only when their commit is on disk.
    databases.execute(url, "CHECKPOINT", "VACUUM (ANALYZE)")


def _progress(chunks: range) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))
