"""Runs the project's commands as a user does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.alembic_cli import Result
from tests.support.waiting import SECONDS
from tests.trading_bot import ROOT


def run(*command: str, cwd: Path = ROOT, **environment: str) -> Result:
    """Run a Python module with arguments and additional environment variables."""
    return _python("-m", *command, cwd=cwd, environment=environment)


def example(*arguments: str, **environment: str) -> Result:
    """Run the example application as the README does."""
    return _python("examples/trading_day.py", *arguments, cwd=ROOT, environment=environment)


def _python(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> Result:
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        # Bytecode makes the next process start in half the time.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Result(process.returncode, process.stdout, process.stderr)
