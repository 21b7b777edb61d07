"""Where a module is missing, such as ``fcntl`` on Windows, commands work or say what to do.

Modules and functions are removed from Python; CI tests the rest on Windows.
"""

from pathlib import Path

import pytest

from tests.support import commandline
from trading_bot_schema.drift.catalogue import snapshot
from verification import Project, databases

LIKE_WINDOWS = """\
import os, signal, sys

for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for function in ("chown", "fork", "geteuid", "getuid", "mkfifo", "setsid"):
    delattr(os, function)
for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT"):
    delattr(signal, name)
"""
UPGRADE = ("alembic", "upgrade", "head")
NO_DRIVER = "raise ModuleNotFoundError(\"No module named 'psycopg'\")"
NO_SERVER = "The embedded PostgreSQL needs Linux or macOS. Set DATABASE_URL"


@pytest.mark.parametrize(
    ("module", "text", "command", "says"),
    [
        ("psycopg", NO_DRIVER, UPGRADE, "No module named 'psycopg'"),
        ("sitecustomize", LIKE_WINDOWS, ("alembic", "current"), NO_SERVER),
        ("sitecustomize", LIKE_WINDOWS, ("trading_bot_schema", "postgres", "start"), NO_SERVER),
    ],
)
def test_what_is_missing(
    tmp_path: Path, empty_database: str, module: str, text: str, command: tuple[str], says: str
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    server = tmp_path / "server"
    url = empty_database if module == "psycopg" else f"embedded:///{server}"
    result = commandline.run(*command, DATABASE_URL=url, PYTHONPATH=str(tmp_path))
    assert ("pip install" in result.refusal(says)) == (module == "psycopg")
    assert result.status != 120, "an error at the exit"
    assert snapshot(empty_database).columns == {}
    assert not server.exists()


def test_windows_with_an_external_server(
    tmp_path: Path, empty_database: str, todays_revisions: Project
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LIKE_WINDOWS)
    url, path = empty_database, str(tmp_path)
    commandline.run(*UPGRADE, DATABASE_URL=url, PYTHONPATH=path).succeeded()
    example = ("examples/trading_day.py", "--seed", "300")
    result = commandline.run(*example, DATABASE_URL=url, PYTHONPATH=path)
    assert result.succeeded().stdout.count(" agree\n") == 8
    assert databases.version(empty_database) == todays_revisions.head
