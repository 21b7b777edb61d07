"""A migration's output on stderr can be parsed, and stderr may be closed."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import make_url

from tests.operations.landed import HEAD, HISTORY
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.probe_revisions import Revisions
from tests.trading_bot import ROOT
from verification import databases

JSON = {"MIGRATION_LOG": "json"}
PASSWORD = "hunter2"  # noqa: S105


def json_lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_every_line_of_a_log_has_a_timestamp(alembic_cli: AlembicCli, database: str) -> None:
    started = datetime.now(UTC) - timedelta(milliseconds=1)
    for target in ("base", "nosuch"):
        lines = alembic_cli.run("downgrade", target, database=database).stderr.splitlines()
        assert lines
        for line in lines:
            time, _, rest = line.partition(" ")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time), line
            assert started <= datetime.fromisoformat(time) <= datetime.now(UTC)
            assert re.match(r"(INFO |ERROR) \[alembic\.", rest), line


def test_one_json_object_per_line(alembic_cli: AlembicCli, empty_database: str) -> None:
    url = make_url(empty_database).set(password=PASSWORD)
    password = url.render_as_string(hide_password=False)
    result = alembic_cli.run("upgrade", "head", database=password, environment=JSON).succeeded()
    assert PASSWORD not in result.stderr
    target, *steps, finished = json_lines(result)
    for number, revision in enumerate(HISTORY):
        started, done = steps[2 * number : 2 * number + 2]
        for step, event in ((started, "started"), (done, "done")):
            shown = (step["event"], step["revision"], step["direction"])
            assert shown == (event, revision.revision, "upgrade")
        assert isinstance(done["seconds"], float)
    assert (target["event"], finished["event"], finished["revision"]) == (
        "target",
        "finished",
        HEAD,
    )
    for line in (target, finished):
        assert str(url.database) in str(line["target"])
    for line in (target, *steps, finished):
        assert line["level"] == "INFO"
        assert line["message"]
        assert datetime.fromisoformat(str(line["time"])).tzinfo is not None


def test_json_of_errors(alembic_cli: AlembicCli, database: str, revisions: Revisions) -> None:
    revisions.add("probe", 'op.execute("LOCK TABLE users")')
    limits = ("-x", "lock_timeout=1s", "-x", "lock_attempts=2", "-x", "log=json")
    with databases.transaction(database, "SELECT FROM users") as reader:
        result = alembic_cli.run(
            "-c", revisions.ini, *limits, "upgrade", "head", database=database
        )
        blocker = f"pid {reader.info.backend_pid} "
    assert result.status != 0
    blocked, failed = (line for line in json_lines(result) if line["level"] != "INFO")
    assert (blocked["event"], blocked["revision"], blocked["attempt"]) == ("blocked", "probe", 1)
    assert str(blocked["blockers"]).startswith(blocker)
    assert failed["event"] == "failed"
    assert blocker in str(failed["message"])


def test_other_formats_are_refused(alembic_cli: AlembicCli, database: str) -> None:
    message = alembic_cli.run("-x", "log=xml", "current", database=database).refusal()
    assert "-x log is 'xml', but should be text or json." in message


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams(empty_database: str, closed: str) -> None:
    def run(*arguments: str) -> int:
        command = f'"$0" -m alembic "$@" {closed}'
        environment = {**os.environ, "DATABASE_URL": empty_database}
        shell = ["sh", "-c", command, sys.executable, *arguments]
        return subprocess.run(shell, cwd=ROOT, env=environment, check=False).returncode

    assert run("upgrade", "head") == 0
    assert databases.version(empty_database) == HEAD
    assert run("upgrade", "nosuch") not in (0, 120)
