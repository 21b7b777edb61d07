"""The revisions that accept any order type run both ways, regardless of the rows."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.trading_bot import PROJECT
from verification import Databases, databases
from verification.content import insert_all

LISTED_TYPES, VALIDATED = "3f8a6c2d417e", "e72f3d9086bc"
CHECKS = """
    SELECT conname, convalidated FROM pg_constraint
    WHERE conrelid = 'trades'::regclass AND conname LIKE 'ck_trades_order_type%'
"""


@pytest.fixture
def url(database_at: Databases) -> str:
    """A database at the second of the two revisions, with trades of listed types."""
    url = database_at.at(VALIDATED)
    insert_all(url, PROJECT)
    return url


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def checks(connection: psycopg.Connection) -> dict[str, bool]:
    """Return the CHECKs of order types, and whether they are validated."""
    return dict(connection.execute(CHECKS).fetchall())


def test_the_list_is_validated_if_all_rows_pass(url: str, connection: psycopg.Connection) -> None:
    for revision, name, is_validated in (
        (VALIDATED, "ck_trades_order_type_upper_case", True),
        ("-1", "ck_trades_order_type_upper_case", False),
        ("-1", "ck_trades_order_type_known", True),
        (VALIDATED, "ck_trades_order_type_upper_case", True),
    ):
        PROJECT.migrate(url, revision)
        assert checks(connection) == {name: is_validated}


def test_a_new_type_survives_a_downgrade(url: str, connection: psycopg.Connection) -> None:
    connection.execute("UPDATE trades SET order_type = 'PEGGED_2'")
    PROJECT.migrate(url, "-2")
    assert databases.version(url) == LISTED_TYPES
    assert checks(connection) == {"ck_trades_order_type_known": False}
    types = connection.execute("SELECT DISTINCT order_type FROM trades").fetchall()
    assert types == [("PEGGED_2",)]
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE trades SET pnl = 1")
    PROJECT.migrate(url, VALIDATED)
    connection.execute("UPDATE trades SET pnl = 1")
    assert checks(connection) == {"ck_trades_order_type_upper_case": True}


def test_an_interrupted_downgrade_can_be_run_again(
    url: str, connection: psycopg.Connection
) -> None:
    PROJECT.migrate(url, "-1")
    # As after the commit in the middle of the downgrade.
    connection.execute(
        "ALTER TABLE trades DROP CONSTRAINT ck_trades_order_type_upper_case,"
        " ADD CONSTRAINT ck_trades_order_type_known CHECK (order_type = 'MARKET') NOT VALID"
    )
    PROJECT.migrate(url, "-1")
    assert checks(connection) == {"ck_trades_order_type_known": True}
