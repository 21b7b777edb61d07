"""The commands show progress and result: for a terminal, a log, or as JSON.

A statement that takes longer than a second is shown with what blocks it. Only a terminal gets
colours and a status line, and the output may be closed.
"""

import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.operations.landed import HEAD, HISTORY
from tests.support.alembic_cli import Alembic, AlembicCli, Command
from tests.support.probe_revisions import CONCURRENT_INDEX, DROP_CONCURRENT_INDEX, Revisions
from tests.support.waiting import wait_for
from tests.trading_bot import ROOT
from trading_bot_schema.migrator.watcher import Progress
from verification.databases import scalar, transaction, version

ERASE = "\r\x1b[K"
PASSWORD = "hunter2"  # noqa: S105


@pytest.fixture
def with_password(empty_database: str) -> str:
    """URL of an empty database, with a password that the server does not need."""
    return make_url(empty_database).set(password=PASSWORD).render_as_string(hide_password=False)


# A log.


def test_text(alembic: Alembic, with_password: str) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    shown = alembic(with_password).result().succeeded().stderr
    first, *steps, last = (line.partition("] ")[2] for line in shown.splitlines())
    for number, revision in enumerate(HISTORY):
        running, done = steps[2 * number : 2 * number + 2]
        assert re.fullmatch(rf"Running upgrade .*-> {revision.revision}, {revision.doc}", running)
        assert re.fullmatch(r"Done in \d+\.\d\d s", done)
    target = rf"postgresql://.*{make_url(with_password).database}.*"
    assert re.fullmatch(f"Database: {target}", first)
    assert re.fullmatch(rf"At {HEAD} \(head\): {target}", last)
    again = alembic(with_password).result().stderr
    assert [line.partition("] ")[2] for line in again.splitlines()] == [first, last]
    shown += alembic(with_password, "downgrade nosuch").result().stderr
    shown += alembic(with_password, "downgrade base").result().stderr
    assert "At base: postgresql://" in shown
    assert PASSWORD not in shown
    for line in shown.splitlines():
        time, _, rest = line.partition(" ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time), line
        assert before <= datetime.fromisoformat(time) <= datetime.now(UTC)
        assert re.match(r"(INFO |ERROR) \[alembic\.", rest), line


def test_json(alembic: Alembic, with_password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATION_LOG", "json")
    result = alembic(with_password).result().succeeded()
    assert PASSWORD not in result.stderr
    records = [json.loads(line) for line in result.stderr.splitlines()]
    target, *steps, finished = records
    assert [(step["event"], step["revision"], step["direction"]) for step in steps] == [
        (event, revision.revision, "upgrade")
        for revision in HISTORY
        for event in ("started", "done")
    ]
    assert all(isinstance(done["seconds"], float) for done in steps[1::2])
    assert [record["event"] for record in (target, finished)] == ["target", "finished"]
    assert finished["revision"] == HEAD
    for record in (target, finished):
        assert str(make_url(with_password).database) in record["target"]
    for record in records:
        assert record["level"] == "INFO"
        assert record["message"]
        assert datetime.fromisoformat(record["time"]).tzinfo is not None


def test_a_line_is_logged_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(None)
    with caplog.at_level("INFO", "alembic.migrator"):
        for now in range(100, 125):
            progress.report(f"second {now}", "", now)
    assert caplog.messages == ["Second 100", "Second 110", "Second 120"]


# A terminal.


@dataclass
class Terminal:
    """A pseudo-terminal, with its output so far."""

    alembic_cli: AlembicCli
    text: str = ""
    ends: tuple[int, int] = field(default_factory=os.openpty)

    def start(self, *arguments: str, database: str) -> Command:
        """Start a command in it."""
        path = Path(os.ttyname(self.ends[1]))
        return self.alembic_cli.start(*arguments, database=database, terminal=path)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))

    def read(self) -> str:
        while select.select([self.ends[0]], [], [], 0)[0]:
            self.text += os.read(self.ends[0], 65536).decode()
        return self.text


@pytest.fixture
def terminal(alembic_cli: AlembicCli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(alembic_cli)
    terminal.resize(1000)
    yield terminal
    for end in terminal.ends:
        os.close(end)


# An index whose build waits at two rows until an advisory lock with that number is released.
SLOW_TABLE = """
CREATE TABLE slow (id integer, padding text);
ALTER TABLE slow ALTER padding SET STORAGE PLAIN;
INSERT INTO slow SELECT i, repeat('x', 7000) FROM generate_series(1, 100) AS i;
CREATE FUNCTION stop_at(id integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
    BEGIN
        IF id IN (25, 75) THEN PERFORM pg_advisory_xact_lock(id); END IF;
        RETURN id;
    END
$$;
"""


def test_one_line_of_a_terminal_is_updated(
    database: str, revisions: Revisions, terminal: Terminal
) -> None:
    revisions.add("probe", 'op.execute("CREATE INDEX ix_slow ON slow (stop_at(id))")')
    with psycopg.connect(database, autocommit=True, application_name="deploy-7") as other:
        other.execute(SLOW_TABLE)
        other.execute("SELECT pg_advisory_lock(25), pg_advisory_lock(75)")
        no_limits = ("-x", "lock_timeout=0", "-x", "hold_timeout=0")
        upgrade = terminal.start(
            "-c", revisions.ini, *no_limits, "upgrade", "head", database=database
        )
        line = f"{ERASE}CREATE INDEX on slow: building index: scanning table, "
        wait_for(lambda: f"{line}24% of 100 blocks" in terminal.read())
        other.execute("SELECT pg_advisory_unlock(25)")
        wait_for(lambda: f"{line}74% of 100 blocks" in terminal.read())
        shown = terminal.read().rpartition(line)[2]
        waiting = (
            rf" blocks/s; waiting for pid {other.info.backend_pid} \(user .*application deploy-7"
        )
        assert re.search(waiting, shown), shown
        terminal.resize(40)
        wait_for(lambda: f"{line[: len(ERASE) + 39]}{ERASE}" in terminal.read())
        other.execute("SELECT pg_advisory_unlock(75)")
        upgrade.result().succeeded()
    assert "Done in " in terminal.read()
    # Each log record has its own line.
    for line in terminal.read().split("\r\n"):
        assert line.split(ERASE)[-1][:5] in ("INFO ", ""), line


LOCKED = (
    "SELECT count(*) FROM pg_stat_activity AS migrating JOIN pg_stat_activity AS watching"
    " ON watching.query_start > migrating.query_start + interval '1.5 s'"
    " WHERE migrating.query ~ '^CREATE INDEX CONCURRENTLY ix_probe'"
    " AND watching.query ~ 'pg_stat_progress_create_index'"
    " AND watching.application_name = 'alembic'"
    " AND migrating.datname = current_database() AND watching.datname = current_database()"
)


@pytest.mark.parametrize("quiet", [True, False])
def test_no_status_line_when_quiet_or_on_a_dumb_terminal(
    database: str,
    revisions: Revisions,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    quiet: bool,
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    monkeypatch.setenv("TERM", "xterm" if quiet else "dumb")
    arguments = ("-c", revisions.ini, *(["-q"] if quiet else []), "upgrade")
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE"):
        upgrade = terminal.start(*arguments, "head", database=database)
        if quiet:
            wait_for(lambda: scalar(database, LOCKED))
        else:
            wait_for(lambda: "] CREATE INDEX CONCURRENTLY ix_probe on" in terminal.read())
    assert upgrade.result().succeeded().stdout == ""
    assert ERASE not in terminal.read()
    if quiet:
        assert terminal.read() == ""
        assert terminal.start(*arguments, "nosuch", database=database).result().status > 0
        assert "nosuch" in terminal.read()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_only(
    database: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal.start("current", database=database).result().succeeded()
    assert ("\x1b[32mINFO\x1b[0m" in terminal.read()) is (not no_color)
    assert "Database: " in terminal.read()


# Streams that cannot be written.


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("program", "stdout", "status", "message"),
    [
        ("alembic", closed_pipe, 141, ""),
        pytest.param(
            "trading_bot_schema",
            partial(os.open, "/dev/full", os.O_WRONLY),
            2,
            "ERROR [Errno 28] No space left on device\n",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux"),
        ),
    ],
)
def test_output_that_cannot_be_written(
    program: str, stdout: Callable[[], int], status: int, message: str
) -> None:
    command = [sys.executable, "-m", program, "-q", "upgrade", "head", "--sql"]
    with os.fdopen(stdout(), "w") as output:
        result = subprocess.run(
            command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (status, message)


@pytest.mark.parametrize(("revision", "closed"), [("head", "<&- >&- 2>&-"), ("nosuch", "2>&-")])
def test_closed_streams(empty_database: str, revision: str, closed: str) -> None:
    shell = ["sh", "-c", f'"$0" -m alembic upgrade {revision} {closed}', sys.executable]
    environment = {**os.environ, "DATABASE_URL": empty_database}
    status = subprocess.run(shell, cwd=ROOT, env=environment, check=False).returncode
    assert status == 0 if revision == "head" else status not in (0, 120)
    assert version(empty_database) == (HEAD if revision == "head" else None)
