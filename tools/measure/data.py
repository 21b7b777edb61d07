"""Databases with generated trades, on a server with the durability of production."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

from sqlalchemy import make_url
from sqlalchemy.sql.base import Executable

from tools import ROOT
from verification import databases, load, servers

PROJECT = load(ROOT)
WORKLOAD: Any = PROJECT.workload
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",  # It would run at any moment; vacuum() is called instead.
}

HotQueries = Mapping[str, Executable]
# A number of trades, the URL of a database with them, and the hot queries for it.
Filled = tuple[int, str, HotQueries]


def filled(sizes: Iterable[int], **settings: str) -> Generator[Filled]:
    """Yield databases at the initial revision with numbers of trades.

    The server is the one that ``TEST_DATABASE_URL`` names, else an embedded one with more
    settings. Ten million trades take two gigabytes, and half as much again at the head revision.
    """
    with servers.server(SETTINGS | settings) as server:
        for trades in sizes:
            with databases.database(server, f"measured_{uuid4().hex[:8]}") as url:
                PROJECT.migrate(url, PROJECT.history[0].revision)
                workload = WORKLOAD.large(trades, _progress)
                workload.fill(url)
                vacuum(url)
                yield trades, url, workload.statements()


def copied(url: str) -> AbstractContextManager[str]:
    """Create a copy of a database, yield its URL, and drop it."""
    # A database is copied by a session of another one.
    server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    return databases.database(server, f"copy_{uuid4().hex[:8]}", databases.name_of(url))


def vacuum(url: str) -> None:
    """Vacuum and analyze a database, as autovacuum would have."""
    # Rows are marked as visible to all only when their commit is on disk.
    databases.execute(url, "CHECKPOINT", "VACUUM (ANALYZE)")


def _progress(chunks: range) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))
