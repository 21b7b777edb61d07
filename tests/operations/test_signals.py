"""A signal stops a migration at any point, with a one-line error and a rollback.

SIGINT (Ctrl-C), SIGTERM (the end of a container or job) and SIGHUP (the end of a terminal).
"""

import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.config import Config

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli, Command
from tests.support.probe_revisions import (
    ADD_COLUMN,
    CONCURRENT_INDEX,
    DROP_CONCURRENT_INDEX,
    Revisions,
)
from tests.support.waiting import SECONDS, wait_for
from tests.trading_bot import ROOT
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.migrator.lock import LOCK_KEY
from trading_bot_schema.signals import end_cleanly
from verification.databases import scalar, transaction, version

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
by_each_signal = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
LOCK = f"SELECT pg_advisory_lock({LOCK_KEY})"
UNDONE = "What was not committed is undone."


def _ends(migrator: Command, number: signal.Signals, url: str) -> str:
    """Send a signal, check that no statement continues on the server, and return the last line."""
    migrator.send(number)
    result = migrator.result()
    # psycopg waits until the server has cancelled the statement.
    assert _sessions(url, "state = 'active' AND query ~ '^(SELECT pg_sleep|CREATE)'") == 0
    assert result.status == 128 + number
    assert "Traceback" not in result.output
    line = result.messages[-1]
    assert line.startswith(f"ERROR [alembic.util.messaging] Interrupted by {number.name}. ")
    assert line.endswith(" Run it again.")
    assert result.stdout.split() == ["FAILED:", *line.partition("] ")[2].split()]
    wait_for(lambda: _sessions(url) == 0)
    return line


def _sessions(url: str, condition: str = "true") -> int:
    return int(
        scalar(
            url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            f" AND application_name = 'alembic' AND {condition}",
        )
    )


@by_each_signal
def test_in_a_statement(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, number: signal.Signals
) -> None:
    revisions.add(
        "probe", ADD_COLUMN.format("users", "probe") + "\nop.execute('SELECT pg_sleep(600)')"
    )
    before = snapshot(database)
    migrator = alembic_cli.start("-c", revisions.ini, "upgrade", "head", database=database)
    wait_for(lambda: _sessions(database, "query ~ '^SELECT pg_sleep'"))
    line = _ends(migrator, number, database)
    assert f"In upgrade {HEAD} -> probe, A probe: {UNDONE} Run" in line
    assert snapshot(database) == before


@by_each_signal
def test_in_an_index_that_is_built_concurrently(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, number: signal.Signals
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_probe')"
    arguments = ("-c", revisions.ini, "upgrade", "head")
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE"):
        migrator = alembic_cli.start(*arguments, database=database)
        wait_for(lambda: scalar(database, valid) is False)
        line = _ends(migrator, number, database)
    assert "What it did outside of a transaction remains" in line
    assert "marked invalid; the next run builds it again" in line
    assert version(database) == HEAD
    assert alembic_cli.run(*arguments, database=database).status == 0
    assert scalar(database, valid) is True


@by_each_signal
def test_while_it_waits_for_another_migrator(
    alembic_cli: AlembicCli, database: str, number: signal.Signals
) -> None:
    with transaction(database, LOCK, autocommit=True):
        migrator = alembic_cli.start("downgrade", "base", database=database)
        wait_for(lambda: "Waiting for another migrator" in migrator.stderr())
        line = _ends(migrator, number, database)
    assert f"Interrupted by {number.name}. {UNDONE} Run" in line
    assert version(database) == HEAD


@by_each_signal
def test_between_two_attempts(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, number: signal.Signals
) -> None:
    revisions.add("probe", "op.execute('DO $$ BEGIN RAISE lock_not_available; END $$')")
    arguments = ("-c", revisions.ini, "-x", "lock_attempts=1000", "upgrade", "head")
    migrator = alembic_cli.start(*arguments, database=database)
    wait_for(lambda: "Trying again" in migrator.stderr())
    line = _ends(migrator, number, database)
    assert f"In upgrade {HEAD} -> probe, A probe: {UNDONE} Run" in line
    assert version(database) == HEAD


@pytest.mark.parametrize("statement", [1, 5])
def test_between_two_statements(
    alembic_cli: AlembicCli, empty_database: str, statement: int
) -> None:
    before = snapshot(empty_database)
    migrator = alembic_cli.start("upgrade", "head", database=empty_database, stop_before=statement)
    assert migrator.wait_until_stopped()
    _ends(migrator, signal.SIGTERM, empty_database)
    assert snapshot(empty_database) == before


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT], ids=["SIGHUP", "SIGINT"])
def test_what_was_ignored_at_the_start_stays_ignored(
    alembic_cli: AlembicCli, database: str, ignored: signal.Signals
) -> None:
    """As with ``nohup``, and a shell's background processes."""
    with transaction(database, LOCK, autocommit=True):
        migrator = alembic_cli.start("downgrade", "-1", database=database, ignoring=[ignored])
        wait_for(lambda: "Waiting for another migrator" in migrator.stderr())
        migrator.send(ignored)
    assert migrator.result().status == 0
    assert version(database) != HEAD


@pytest.fixture
def container() -> list[str]:
    """Command that starts a process as the first of its namespace, as in a container."""
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("needs Linux and the right to make a PID namespace")
    return command


def test_as_the_first_process_of_a_container(
    container: list[str], database: str, tmp_path: Path
) -> None:
    output = tmp_path / "stderr"
    with (
        transaction(database, LOCK, autocommit=True),
        output.open("w") as stream,
    ):
        unshare = subprocess.Popen(
            [*container, sys.executable, "-m", "alembic", "downgrade", "base"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database},
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
        wait_for(lambda: "Waiting for another migrator" in output.read_text())
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        assert unshare.wait(SECONDS) == 143
    assert output.read_text().endswith(f"Interrupted by SIGTERM. {UNDONE} Run it again.\n")
    assert version(database) == HEAD


@pytest.fixture
def handlers() -> Iterator[Callable[[], list[object]]]:
    """Return a function that reads the signal handlers, which are restored after the test."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield lambda: [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def test_an_application_keeps_its_handlers(handlers: Callable[[], list[object]]) -> None:
    before = handlers()
    with end_cleanly(Config()):
        assert handlers() == before


def test_handlers_are_restored(handlers: Callable[[], list[object]]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = handlers()
    config = Config(cmd_opts=Namespace())
    with end_cleanly(config):
        assert handlers() != before
    assert handlers() == before
    with pytest.raises(SystemExit, match="129"), end_cleanly(config):
        signal.raise_signal(signal.SIGHUP)
    assert handlers() == before
