"""Commands of the project, run as their user runs them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.databases import ROOT
from tests.support.waiting import SECONDS


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module with arguments, in an environment with more variables."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
