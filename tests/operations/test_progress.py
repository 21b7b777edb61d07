"""The progress of a statement that takes longer than a second is shown, and what blocks it."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import CONCURRENT_INDEX, DROP_CONCURRENT_INDEX, Revisions
from tests.support.waiting import SECONDS, wait_for
from tests.trading_bot import ROOT
from trading_bot_schema.migrator.progress import Progress
from verification.databases import scalar, transaction

ERASE = "\r\x1b[K"


@dataclass
class Terminal:
    """A pseudo-terminal, with its output so far."""

    columns: int
    text: str = ""
    controller: int = field(init=False)
    terminal: int = field(init=False)

    def __post_init__(self) -> None:
        self.controller, self.terminal = os.openpty()
        size = struct.pack("HHHH", 25, self.columns, 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def close(self) -> None:
        os.close(self.controller)
        os.close(self.terminal)

    def read(self) -> str:
        while select.select([self.controller], [], [], 0)[0]:
            self.text += os.read(self.controller, 65536).decode()
        return self.text


@pytest.fixture(params=[1000])
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(request.param)
    yield terminal
    terminal.close()


def _upgrade(
    terminal: Terminal, database: str, revisions: Revisions, *options: str, **environment: str
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", "-c", revisions.ini, *options, "upgrade", "head"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "NO_COLOR": "1"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=terminal.terminal,
    )


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
        upgrade = _upgrade(
            terminal, database, revisions, *["-x", "lock_timeout=0", "-x", "hold_timeout=0"]
        )
        line = f"{ERASE}CREATE INDEX on slow: building index: scanning table, "
        wait_for(lambda: f"{line}24% of 100 blocks" in terminal.read())
        other.execute("SELECT pg_advisory_unlock(25)")
        wait_for(lambda: f"{line}74% of 100 blocks" in terminal.read())
        shown = terminal.read().rpartition(line)[2]
        assert " blocks/s; waiting for pid " in shown
        assert f"pid {other.info.backend_pid} (user " in shown
        assert "application deploy-7" in shown
        other.execute("SELECT pg_advisory_unlock(75)")
        assert upgrade.wait(SECONDS) == 0
    assert "Done in " in terminal.read()
    # Each log record has its own line.
    for line in terminal.read().split("\r\n"):
        assert line.split(ERASE)[-1][:5] in ("INFO ", ""), line


@pytest.mark.parametrize("terminal", [40], indirect=True)
def test_the_line_is_cut_to_the_width_of_the_terminal(
    database: str, revisions: Revisions, terminal: Terminal
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE"):
        upgrade = _upgrade(terminal, database, revisions)
        cut = f"{ERASE}CREATE INDEX CONCURRENTLY ix_probe on t{ERASE}"
        wait_for(lambda: cut in terminal.read())
    assert upgrade.wait(SECONDS) == 0


@pytest.mark.parametrize(("option", "term"), [("-q", "xterm"), ("--raiseerr", "dumb")])
def test_no_progress_when_quiet_or_on_a_dumb_terminal(
    database: str, revisions: Revisions, terminal: Terminal, option: str, term: str
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE"):
        upgrade = _upgrade(terminal, database, revisions, option, TERM=term)
        wait_for(lambda: _watched_for_two_seconds(database))
    assert upgrade.wait(SECONDS) == 0
    assert ERASE not in terminal.read()
    if option == "-q":
        assert terminal.read() == ""


def _watched_for_two_seconds(url: str) -> bool:
    return bool(
        scalar(
            url,
            "SELECT count(*) FROM pg_stat_activity AS migrating JOIN pg_stat_activity AS watching"
            " ON watching.query_start > migrating.query_start + interval '2 s'"
            " WHERE migrating.query ~ '^CREATE INDEX CONCURRENTLY ix_probe'"
            " AND watching.query ~ 'pg_stat_progress_create_index'"
            " AND watching.application_name = 'alembic'"
            " AND migrating.datname = current_database()"
            " AND watching.datname = current_database()",
        )
    )


def test_progress_is_logged_without_a_terminal(
    alembic_cli: AlembicCli, database: str, revisions: Revisions
) -> None:
    revisions.add("probe", CONCURRENT_INDEX, DROP_CONCURRENT_INDEX)
    arguments = ("-c", revisions.ini, "upgrade", "head")
    with transaction(database, "LOCK TABLE trades IN ROW EXCLUSIVE MODE") as writer:
        upgrade = alembic_cli.start(*arguments, database=database)
        message = (
            "INFO  [alembic.migrator] CREATE INDEX CONCURRENTLY ix_probe on trades: waiting for"
            f" writers before build; waiting for pid {writer.info.backend_pid} (user "
        )
        wait_for(lambda: message in upgrade.stderr())
    assert upgrade.result().status == 0
    assert upgrade.stderr().count("CREATE INDEX") == 1
    assert ERASE not in upgrade.stderr()


def test_a_line_is_logged_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(None)
    with caplog.at_level("INFO", "alembic.migrator"):
        for now in range(100, 125):
            progress.report(f"second {now}", "", now)
    assert caplog.messages == ["Second 100", "Second 110", "Second 120"]
