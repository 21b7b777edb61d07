"""Databases with generated trades, on a server with the durability of production."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import make_url
from sqlalchemy.sql.base import Executable

from tests.support import data
from tests.support.hot_queries import hot_queries as statements_of
from verification import databases, servers

INITIAL = "7c1d0e5a9b42"
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",  # It would run at any moment; vacuum() is called instead.
}


def filled(sizes: Iterable[int], **settings: str) -> Generator[tuple[int, str]]:
    """Yield each number of trades, and the URL of a database with them at the initial revision.

    The server is the one that ``TEST_DATABASE_URL`` names, else an embedded one with more
    settings. Ten million trades take two gigabytes, and half as much again at the head revision.
    """
    dataset = data.Dataset(period=20000)
    with servers.server(SETTINGS | settings) as server:
        for trades in sizes:
            with databases.database(server, f"measured_{uuid4().hex[:8]}") as url:
                databases.migrate(url, INITIAL)
                data.fill(url, dataset)
                data.fill_trades(url, dataset, 0, trades, _progress)
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


def hot_queries(url: str) -> Mapping[str, Executable]:
    """Return the hot queries of the application, for a database with any data."""
    return dict(statements_of(data.Dataset(period=20000), databases.scalar(url, "SELECT max(id) FROM trades")))


def _progress(chunks: range) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))
