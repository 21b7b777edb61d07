"""Runs the project's commands as a user does."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.alembic_cli import Result
from tests.support.waiting import SECONDS
from tests.trading_bot import ROOT


def run(*command: str, cwd: Path = ROOT, **environment: str) -> Result:
    """Run a Python module, or a file, with arguments and additional environment variables."""
    process = subprocess.run(
        [sys.executable, *([] if command[0].endswith(".py") else ["-m"]), *command],
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
