"""The example runs against a live database, and its books balance, whatever the seed."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.databases import ROOT


@pytest.mark.parametrize("seed", ["7", "20", "300"])
def test_the_books_balance(database: str, seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "examples/trading_day.py", "--seed", seed],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Four bots, before and after the user leaves.
    assert len(re.findall(" agree$", done.stdout, re.MULTILINE)) == 8
