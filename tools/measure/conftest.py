"""The databases to measure: each size with the initial revision alone, and with the head.

The server is the one that ``TEST_DATABASE_URL`` names, else an embedded one with durability, as
in production. At ten million trades the databases take ten gigabytes.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tqdm import tqdm

from tests.support import data
from tools import ROOT
from tools.document.benchmarks import REVISIONS
from verification import databases, load, servers

INITIAL = "7c1d0e5a9b42"
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    # Otherwise commits would wait for the disk most of the time, and hide the cost of an index.
    "synchronous_commit": "off",
    # The benchmarks vacuum explicitly.
    "autovacuum": "off",
}


@dataclass
class Stage:
    """A database to measure."""

    url: str
    trades: int
    upgrade_seconds: float = 0
    """Duration of the upgrade from the initial revision."""
    next_trade: int = 0
    """The number of the first trade that is not inserted yet."""

    def __post_init__(self) -> None:
        self.next_trade = self.trades


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trades", default="1000000,10000000", help="sizes to measure at")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trades" in metafunc.fixturenames:
        sizes = [int(size) for size in metafunc.config.getoption("--trades").split(",")]
        metafunc.parametrize("trades", sizes, scope="session")


@pytest.fixture(scope="session")
def dataset() -> data.Dataset:
    return data.Dataset()


@pytest.fixture(scope="session")
def stages(
    request: pytest.FixtureRequest, dataset: data.Dataset
) -> Iterator[dict[tuple[int, str], Stage]]:
    """Fill a database step by step, and keep two copies of it at each size."""
    sizes = sorted(int(size) for size in request.config.getoption("--trades").split(","))
    stages: dict[tuple[int, str], Stage] = {}
    with ExitStack() as stack:
        server = stack.enter_context(servers.server(SETTINGS))

        def copy(name: str, template: str) -> str:
            databases.execute(server, f"DROP DATABASE IF EXISTS {name}")
            return stack.enter_context(databases.database(server, name, template))

        growing = copy("benchmark_growing", "template0")
        load(ROOT).migrate(growing, INITIAL)
        data.fill(growing, dataset)
        done = 0
        for trades in sizes:
            data.fill_trades(growing, dataset, done, trades, progress)
            data.vacuum(growing)
            for revision in REVISIONS:
                name = f"benchmark_{trades}_{revision}"
                stage = Stage(copy(name, "benchmark_growing"), trades)
                if revision == "head":
                    start = time.perf_counter()
                    load(ROOT).migrate(stage.url)
                    stage.upgrade_seconds = time.perf_counter() - start
                    data.vacuum(stage.url)
                stages[trades, revision] = stage
            done = trades
        yield stages


@pytest.fixture(params=REVISIONS)
def stage(
    request: pytest.FixtureRequest, stages: dict[tuple[int, str], Stage], trades: int
) -> Stage:
    return stages[trades, request.param]


def progress(chunks: range) -> Iterator[int]:
    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))
