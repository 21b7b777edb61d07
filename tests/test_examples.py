"""The example runs against a live database, and its books balance, whatever the seed."""

import re

import pytest

from tests.support import commandline


@pytest.mark.parametrize("seed", ["7", "20", "300"])
def test_the_books_balance(database: str, seed: str) -> None:
    done = commandline.example("--seed", seed, DATABASE_URL=database)
    assert done.returncode == 0, done.stdout + done.stderr
    # Four bots, before and after the user leaves.
    assert len(re.findall(" agree$", done.stdout, re.MULTILINE)) == 8
