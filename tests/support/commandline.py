"""Runs the project's commands as a user does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.databases import ROOT
from tests.support.waiting import SECONDS


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module with arguments and additional environment variables."""
    return _python("-m", *command, cwd=cwd, environment=environment)


def example(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the example application as the README does."""
    return _python("examples/trading_day.py", *arguments, cwd=ROOT, environment=environment)


def _python(
    *arguments: str, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
