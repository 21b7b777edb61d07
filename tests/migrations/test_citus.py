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
from contextlib import ExitStack
from threading import Event
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from sqlalchemy import make_url

from models import Base
from tests.support.data import Dataset, fill, fill_trades
from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import Revisions
from tests.support.recipes import SCALE, recipes
from tests.trading_bot import HEAD, ROOT
from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.drift.expected import differences_from
from trading_bot_schema.plan.command import make_plan
from verification.databases import database, execute, insert, scalar

pytestmark = pytest.mark.skipif(
    "TEST_CITUS_URL" not in os.environ, reason="TEST_CITUS_URL names no coordinator"
)
(ROUTE,) = recipes(SCALE).values()
TRADES = 50_000
# A landed revision; those after it lock trades.
BEFORE_ORDER_TYPES = "3f8a6c2d417e"
EXAMPLE = "tests/project/test_examples.py::test_the_books_balance"
# Tests of the operations that have no meaning there, and why.
NOT_ON_CITUS = {
    "test_trades.py::test_another_order_with_the_same_key[True-changes0]": "of another user",
    "test_trades.py::test_another_order_with_the_same_key[False-changes0]": "of another user",
    "test_secrets.py::test_failing_insert[duplicate key]": "names the shard's constraint",
    "test_engine.py::test_a_server_that_becomes_read_only": "makes a table, which stays",
    "test_engine.py::test_broken_connections_are_replaced": "Citus has such a function too",
    "test_scheduling.py::test_a_lease_ends_with_the_connection": "Citus has such a function too",
    "test_clients.py": "needs no database",
}


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a new database with Citus, which is also DATABASE_URL."""
    server = make_url(os.environ["TEST_CITUS_URL"]).set(drivername="postgresql")
    with psycopg.connect(server.render_as_string(hide_password=False)) as connection:
        query = "SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid"
        nodes = connection.execute(query).fetchall()
    name = f"test_{uuid4().hex}"
    with ExitStack() as stack:
        for host, port in nodes:
            node = server.set(host=host, port=port).render_as_string(hide_password=False)
            execute(stack.enter_context(database(node, name)), "CREATE EXTENSION citus")
        url = server.set(database=name).render_as_string(hide_password=False)
        (host, port), *workers = nodes
        execute(url, f"SELECT citus_set_coordinator_host('{host}', {port})")
        execute(url, *(f"SELECT citus_add_node('{host}', {port})" for host, port in workers))
        monkeypatch.setenv("DATABASE_URL", url)
        yield url


def rows(url: str) -> list[str]:
    """Return a digest of each table's rows, without trades that were added later."""
    digest = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM {} t WHERE id <= {}"
    return [scalar(url, digest.format(name, TRADES)) for name in Base.metadata.tables]


def drift(url: str, revision: str, revisions: Revisions) -> str:
    """Return how a database differs from what the revisions build without Citus."""
    server = make_url(url)
    with scratch.database(server) as plain:
        revisions.project.migrate(plain.render_as_string(hide_password=False), revision)
        reference = snapshot(plain)
        return differences_from(
            reference, snapshot(url), {"extensions"}, lambda: scratch.restored(server, reference)
        )


def trade(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    bot = connection.execute("SELECT id, user_id FROM bot_configs ORDER BY random() LIMIT 1")
    return MINIMAL_ROWS["trades"] | dict(zip(("bot_config_id", "user_id"), *bot, strict=True))


def record(url: str, stop: Event) -> tuple[float, list[str]]:
    """Add trades until ``stop``; return the longest wait, and the errors."""
    longest, errors = 0.0, []
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        while not stop.is_set():
            start = time.monotonic()
            try:
                insert(connection, "trades", trade(connection))
            except psycopg.errors.OperationalError as error:
                errors.append(type(error).__name__)
            longest = max(longest, time.monotonic() - start)
    return longest, errors


def test_the_route_loses_nothing(coordinator: str, revisions: Revisions) -> None:
    command.upgrade(revisions.config, "head")
    dataset = Dataset(users=200, bots=1_000, running=200, period=20_000)
    fill(coordinator, dataset)
    fill_trades(coordinator, dataset, 0, TRADES)
    before = rows(coordinator)
    names = [script.revision for script in revisions.add_recipe(ROUTE)]
    with ThreadPoolExecutor() as threads:
        for name in names:
            stop = Event()
            recorder = threads.submit(record, coordinator, stop)
            try:
                command.upgrade(revisions.config, name)
            finally:
                stop.set()
            longest, errors = recorder.result()
            print(f"{name}: longest wait {longest:.2f} s, errors {errors}")  # noqa: T201
            assert len(errors) <= 1, "what is interrupted can be repeated"
    nodes = "SELECT count(DISTINCT nodeport) FROM citus_shards WHERE citus_table_type = '{}'"
    assert scalar(coordinator, nodes.format("distributed")) > 1
    assert scalar(coordinator, nodes.format("reference")) > 2
    assert scalar(coordinator, "SELECT count(DISTINCT id) = count(*) FROM trades")
    assert rows(coordinator) == before
    assert not (report := drift(coordinator, names[-1], revisions)), report
    with psycopg.connect(coordinator) as connection:
        unknown = MINIMAL_ROWS["trades"] | {"bot_config_id": 0}
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            insert(connection, "trades", unknown)
    at = "UPDATE alembic_version SET version_num = '{}'"
    execute(coordinator, at.format(BEFORE_ORDER_TYPES))
    (locked,) = make_plan(make_url(coordinator)).tables
    assert (locked.bytes or 0) > 50 * TRADES, "the size is that of the shards"
    execute(coordinator, at.format(names[-1]))
    command.downgrade(revisions.config, HEAD)
    assert rows(coordinator) == before
    assert not (report := drift(coordinator, HEAD, revisions)), report
    with psycopg.connect(coordinator) as connection:  # an id that starts again is a duplicate
        for table in ("users", "api_keys", "bot_configs"):
            insert(connection, table, MINIMAL_ROWS[table])
        insert(connection, "trades", trade(connection))


def test_the_operations_run_there(coordinator: str, revisions: Revisions) -> None:
    revisions.add_recipe(ROUTE)
    command.upgrade(revisions.config, "head")
    without = [f"--deselect=tests/application/{name}" for name in NOT_ON_CITUS]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/application", EXAMPLE, *without],
        env=os.environ | {"TEST_DISTRIBUTED_DATABASE_URL": coordinator},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(result.stdout.splitlines()[-1])  # noqa: T201
    assert result.returncode == 0, result.stdout
