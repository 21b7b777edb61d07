"""Alembic's commands show progress and result, with colours on a terminal only."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.operations.landed import HISTORY
from tests.support.alembic_cli import AlembicCli
from tests.trading_bot import ROOT


def test_progress(alembic_cli: AlembicCli, empty_database: str) -> None:
    url = make_url(empty_database).set(password="hunter2")
    password = url.render_as_string(hide_password=False)
    shown = alembic_cli.run("upgrade", "head", database=password).stderr
    lines = [line.partition("] ")[2] for line in shown.splitlines()]
    assert re.fullmatch(rf"Database: postgresql://.*{url.database}.*", lines[0])
    for number, revision in enumerate(HISTORY):
        running, done = lines[1 + 2 * number : 3 + 2 * number]
        assert re.fullmatch(rf"Running upgrade .*-> {revision.revision}, {revision.doc}", running)
        assert re.fullmatch(r"Done in \d+\.\d\d s", done)
    assert lines[-1].startswith(f"At {HISTORY[-1].revision} (head): postgresql://")
    assert str(url.database) in lines[-1]
    assert "hunter2" not in shown
    again = alembic_cli.run("upgrade", "head", database=password).stderr
    assert [line.partition("] ")[2] for line in again.splitlines()] == [lines[0], lines[-1]]
    shown = alembic_cli.run("downgrade", "base", database=empty_database).stderr
    assert "At base: postgresql://" in shown


def test_quiet(alembic_cli: AlembicCli, empty_database: str) -> None:
    assert alembic_cli.run("-q", "upgrade", "head", database=empty_database).output == ""
    refused = alembic_cli.run("-q", "upgrade", "nosuch", database=empty_database)
    assert "nosuch" in refused.stderr


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_only(database: str, no_color: str) -> None:
    controller, terminal = os.openpty()
    subprocess.run(
        [sys.executable, "-m", "alembic", "current"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "NO_COLOR": no_color},
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert ("\x1b[32mINFO\x1b[0m" in shown) is (not no_color)
    assert "Database: " in shown


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux")
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("program", ["alembic", "trading_bot_schema"])
@pytest.mark.parametrize(
    ("stdout", "status", "message"),
    [(closed_pipe, 141, ""), (full_disk, 2, "ERROR [Errno 28] No space left on device\n")],
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
