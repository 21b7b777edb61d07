"""The example runs against a live database, and its books balance."""

from tests.support import commandline

EXAMPLE = "examples/trading_day.py"


def test_the_books_balance(database: str) -> None:
    result = commandline.run(EXAMPLE, "--seed", "7", DATABASE_URL=database).succeeded()
    # Four bots, before and after the user leaves.
    assert result.stdout.count(" agree\n") == 8


def test_a_database_without_tables(empty_database: str) -> None:
    result = commandline.run(EXAMPLE, DATABASE_URL=empty_database)
    message = "Run `alembic upgrade head` on this database first."
    assert result.stderr == f'ERROR relation "users" does not exist. {message}\n'
