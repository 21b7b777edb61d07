"""Without ``fcntl`` and ``pwd``, as on Windows, everything but the embedded server works.

The modules and functions are removed from Python; CI tests the rest on Windows.
"""

from pathlib import Path

import pytest

from tests.operations.landed import HEAD
from tests.support import commandline
from verification import databases

LIKE_WINDOWS = """\
import os, signal, sys

for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for function in ("chown", "fork", "geteuid", "getuid", "mkfifo", "setsid"):
    delattr(os, function)
for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT"):
    delattr(signal, name)
"""


@pytest.fixture
def windows(tmp_path: Path) -> str:
    """The value of PYTHONPATH."""
    (tmp_path / "sitecustomize.py").write_text(LIKE_WINDOWS)
    return str(tmp_path)


def test_with_an_external_server(windows: str, empty_database: str) -> None:
    for command in (("alembic", "upgrade", "head"), ("trading_bot_schema", "check")):
        commandline.run(*command, DATABASE_URL=empty_database, PYTHONPATH=windows).succeeded()
    result = commandline.example(DATABASE_URL=empty_database, PYTHONPATH=windows).succeeded()
    assert "BTC/USDT" in result.stdout
    assert databases.version(empty_database) == HEAD


@pytest.mark.parametrize(
    "command", [("alembic", "current"), ("trading_bot_schema", "postgres", "start")]
)
def test_the_embedded_server_reports_its_requirements(
    windows: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    url = f"embedded:///{tmp_path}/server"
    result = commandline.run(*command, DATABASE_URL=url, PYTHONPATH=windows)
    assert result.status not in (0, 120)
    assert "The embedded PostgreSQL needs Linux or macOS. Set DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "server").exists()
