"""The examples run against a live database, and their books balance with every seed."""

import re

import pytest

from tests.support import commandline


@pytest.mark.parametrize("seed", ["7", "20", "300"])
def test_the_books_balance(database: str, seed: str) -> None:
    result = commandline.example("--seed", seed, DATABASE_URL=database).succeeded()
    # Four bots, before and after the user leaves.
    assert len(re.findall(" agree$", result.stdout, re.MULTILINE)) == 8


def test_a_database_without_tables(empty_database: str) -> None:
    result = commandline.example(DATABASE_URL=empty_database)
    message = "Run `alembic upgrade head` on this database first."
    assert result.stderr == f'ERROR relation "users" does not exist. {message}\n'
