"""The route of docs/scale.md loses nothing on a Citus cluster, and the operations run there.

Skipped without ``TEST_CITUS_URL``: a coordinator on which a superuser may create databases. The
coordinator and its workers are those in ``pg_dist_node``.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from sqlalchemy import URL, make_url

from models import Base
from tests.migrations.test_scale import add_route
from tests.support.data import Dataset, fill, fill_trades
from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import Revisions
from tests.trading_bot import HEAD, ROOT
from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.drift.expected import differences_from
from trading_bot_schema.plan.command import make_plan
from verification.databases import execute, insert, scalar

pytestmark = pytest.mark.skipif(
    "TEST_CITUS_URL" not in os.environ, reason="TEST_CITUS_URL names no coordinator"
)

BEFORE_ORDER_TYPES = "3f8a6c2d417e"
"""A landed revision; those after it lock trades."""
NOT_ON_CITUS = {
    "test_trades.py::test_another_order_with_the_same_key[True-changes0]": "of another user",
    "test_trades.py::test_another_order_with_the_same_key[False-changes0]": "of another user",
    "test_secrets.py::test_failing_insert[duplicate key]": "names the shard's constraint",
    "test_engine.py::test_a_server_that_becomes_read_only": "makes a table, which stays",
    "test_engine.py::test_broken_connections_are_replaced": "Citus has such a function too",
    "test_scheduling.py::test_a_lease_ends_with_the_connection": "Citus has such a function too",
    "test_clients.py": "needs no database",
}
"""Tests of the operations that have no meaning there, and why."""


EXAMPLE = "tests/project/test_examples.py::test_the_books_balance"


@pytest.fixture(scope="module")
def coordinator() -> URL:
    return make_url(os.environ["TEST_CITUS_URL"]).set(drivername="postgresql")


@pytest.fixture
def nodes(coordinator: URL) -> Iterator[list[URL]]:
    """A database with Citus on each node, the coordinator first."""
    with psycopg.connect(text(coordinator)) as connection:
        found = connection.execute("SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid")
        servers = [coordinator.set(host=host, port=port) for host, port in found]
    urls = [server.set(database=f"test_{uuid4().hex}") for server in servers[:1]]
    urls += [server.set(database=urls[0].database) for server in servers[1:]]
    for server, url in zip(servers, urls, strict=True):
        execute(text(server), f"CREATE DATABASE {url.database} TEMPLATE template0")
        execute(text(url), "CREATE EXTENSION citus")
    first, *workers = urls
    add = f"SELECT citus_set_coordinator_host('{first.host}', {first.port})"
    execute(text(first), add, *(f"SELECT citus_add_node('{w.host}', {w.port})" for w in workers))
    yield urls
    for server, url in zip(servers, urls, strict=True):
        execute(text(server), f"DROP DATABASE {url.database} WITH (FORCE)")


def text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def rows(url: str, last: int) -> dict[str, str]:
    """Return a digest of the rows of each table, up to a trade."""
    digest = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM {} t {}"
    return {
        name: scalar(url, digest.format(name, f"WHERE id <= {last}" if name == "trades" else ""))
        for name in Base.metadata.tables
    }


def drift(url: URL, revision: str, revisions: Revisions) -> str:
    """Return how a database differs from what the revisions build without Citus."""
    with scratch.database(url) as plain:
        revisions.project.migrate(text(plain), revision)
        reference = snapshot(plain)
        return differences_from(
            reference, snapshot(url), {"extensions"}, lambda: scratch.restored(url, reference)
        )


def write(url: str, stop: Event) -> tuple[list[int], float, list[str]]:
    """Add trades until ``stop``; return their ids, the longest wait, and the errors."""
    ids, longest, errors = [], 0.0, []
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        while not stop.is_set():
            start = time.monotonic()
            try:
                ids.append(insert(connection, "trades", trade(connection))["id"])
            except psycopg.errors.OperationalError as error:
                errors.append(type(error).__name__)
            longest = max(longest, time.monotonic() - start)
    return ids, longest, errors


def trade(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    bot = connection.execute("SELECT id, user_id FROM bot_configs ORDER BY random() LIMIT 1")
    return MINIMAL_ROWS["trades"] | dict(zip(("bot_config_id", "user_id"), *bot, strict=True))


def test_the_route_loses_nothing(
    nodes: list[URL], revisions: Revisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nodes[0]
    url = text(first)
    monkeypatch.setenv("DATABASE_URL", url)
    command.upgrade(revisions.config, "head")
    dataset, trades = Dataset(users=200, bots=1_000, running=200, period=20_000), 50_000
    fill(url, dataset)
    fill_trades(url, dataset, 0, trades)
    before = rows(url, trades)
    names = add_route(revisions)
    with ThreadPoolExecutor() as threads:
        for name in names:
            stop = Event()
            writer = threads.submit(write, url, stop)
            try:
                command.upgrade(revisions.config, name)
            finally:
                stop.set()
            ids, longest, errors = writer.result()
            print(f"{name}: {len(ids)} trades, longest wait {longest:.2f} s, errors {errors}")  # noqa: T201
            assert ids == sorted(set(ids)), "ids continue"
            assert len(errors) <= 1, "what is interrupted can be repeated"
    placed = "SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name::text = 'trades'"
    assert scalar(url, placed) == len(nodes) - 1
    assert scalar(url, "SELECT count(*) = count(DISTINCT id) FROM trades")
    assert rows(url, trades) == before
    assert not (report := drift(first, names[-1], revisions)), report
    execute(url, f"UPDATE alembic_version SET version_num = '{BEFORE_ORDER_TYPES}'")
    (locked,) = make_plan(make_url(url)).tables
    assert (locked.bytes or 0) > 50 * trades, "the size is that of the shards"
    execute(url, f"UPDATE alembic_version SET version_num = '{names[-1]}'")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(connection, "trades", MINIMAL_ROWS["trades"] | {"bot_config_id": 0})
    command.downgrade(revisions.config, HEAD)
    assert rows(url, trades) == before
    assert not (report := drift(first, HEAD, revisions)), report
    for table in ("users", "bot_configs"):  # whose ids continue as well
        with psycopg.connect(url) as connection:
            values = MINIMAL_ROWS[table]
            last = scalar(url, f"SELECT max(id) FROM {table}")
            assert insert(connection, table, values)["id"] > last


def test_the_operations_run_there(
    nodes: list[URL], revisions: Revisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = text(nodes[0])
    monkeypatch.setenv("DATABASE_URL", url)
    add_route(revisions)
    command.upgrade(revisions.config, "head")
    without = [f"--deselect=tests/application/{name}" for name in NOT_ON_CITUS]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/application", EXAMPLE, *without],
        env=os.environ | {"TEST_DISTRIBUTED_DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(result.stdout.splitlines()[-1])  # noqa: T201
    assert result.returncode == 0, result.stdout
