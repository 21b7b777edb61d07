"""Each constraint rejects invalid rows and accepts the nearest valid ones.

``test_specification.py`` compares NOT NULL, the lengths of texts, defaults and primary keys.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests import specification
from tests.support.factories import MINIMAL_ROWS
from tests.trading_bot import HEAD
from verification import Databases
from verification.databases import insert

Connection = psycopg.Connection[Any]

Case = tuple[str, str, dict[str, Any], dict[str, Any]]

# The user Ada and her bot have the id 1; another user and that one's bot have the id 1000.
KEYS: list[Case] = [
    ("ix_users_email", "users", {"email": "ada@example.com"}, {"email": "Ada@example.com"}),
    (
        "uq_trades_binance_order_id",
        "trades",
        {"binance_order_id": "BTCUSDT:1"},
        {"binance_order_id": "ETHUSDT:1"},
    ),
    ("fk_api_keys_user_id_users", "api_keys", {"user_id": 99}, {}),
    ("fk_bot_configs_user_id_users", "bot_configs", {"user_id": 99}, {}),
    ("fk_bot_states_id_bot_configs", "bot_states", {"id": 99}, {}),
    # Either of two rejects it.
    ("fk_trades_bot_config_id_.*", "trades", {"bot_config_id": 99}, {}),
    (
        "fk_trades_(bot_config_id_user_id_bot_configs|user_id_users)",
        "trades",
        {"user_id": 99},
        {},
    ),
    # The user of a trade is the owner of its bot.
    (
        "fk_trades_bot_config_id_user_id_bot_configs",
        "trades",
        {"user_id": 1000},
        {"bot_config_id": 1000, "user_id": 1000},
    ),
]


def checks() -> Iterator[Case]:
    """Yield the cases: constraint, table, values of an invalid row, values of a valid one."""
    constraint = table = ""
    for cells in specification.rows(specification.CHECKS, "|")[2:]:
        if len(cells) == 1:
            (constraint,) = cells
            table = next(
                name for name in specification.tables() if constraint.startswith(f"ck_{name}_")
            )
        else:
            invalid, valid = (dict(pair.split("=") for pair in cell.split()) for cell in cells)
            yield constraint, table, invalid, valid


@pytest.fixture(scope="module")
def populated(database_at: Databases) -> str:
    """A database with the rows that others reference, and that have unique values."""
    url = database_at.at(HEAD)
    with psycopg.connect(url) as connection:
        add(connection, "users", email="ada@example.com")
        add(connection, "bot_configs")
        add(connection, "users", id=1000)
        add(connection, "bot_configs", id=1000, user_id=1000)
        add(connection, "trades", binance_order_id="BTCUSDT:1", bot_config_id=1000, user_id=1000)
    return url


@pytest.fixture
def connection(populated: str) -> Iterator[Connection]:
    """A connection whose changes are rolled back after the test."""
    with psycopg.connect(populated) as connection, connection.transaction(force_rollback=True):
        yield connection


def add(connection: Connection, table: str, **values: Any) -> dict[str, Any]:
    """Insert a valid row with the values given; return the stored row."""
    unique = {"email": f"{uuid4()}@example.com"} if table == "users" else {}
    return insert(connection, table, MINIMAL_ROWS[table] | unique | values)


def refused(connection: Connection, table: str, **values: Any) -> psycopg.Error:
    """Insert a row that must be rejected; return the error."""
    with pytest.raises(psycopg.Error) as caught, connection.transaction():
        add(connection, table, **values)
    return caught.value


@pytest.mark.parametrize(("constraint", "table", "invalid", "valid"), [*checks(), *KEYS])
def test_constraint(
    connection: Connection,
    constraint: str,
    table: str,
    invalid: dict[str, Any],
    valid: dict[str, Any],
) -> None:
    error = refused(connection, table, **invalid)
    assert isinstance(error, psycopg.errors.IntegrityError)
    found = error.diag.constraint_name or ""
    assert re.fullmatch(constraint, found), f"the row of {table} in tests/rows.py lacks: {error}"
    add(connection, table, **valid)


def test_every_check_is_tested(connection: Connection) -> None:
    query = (
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    tested = {constraint for constraint, *_ in checks()}
    untested = {name for (name,) in connection.execute(query)} - tested
    assert not untested, f"CHECKS in tests/specification.py lacks {', '.join(sorted(untested))}"


@pytest.mark.parametrize("column", specification.numeric_columns())
def test_nan_and_infinity_are_rejected(connection: Connection, column: str) -> None:
    table, name = column.split(".")
    assert isinstance(refused(connection, table, **{name: "NaN"}), psycopg.errors.CheckViolation)
    for infinity in ("Infinity", "-Infinity"):
        error = refused(connection, table, **{name: infinity})
        assert isinstance(error, psycopg.errors.NumericValueOutOfRange)
    add(connection, table, **{name: "12.345678"})


def test_enums_have_the_specified_members() -> None:
    members = {
        " ".join([enum.__name__, *enum])
        for enum in StrEnum.__subclasses__()
        if enum.__module__ == "models.enums"
    }
    specified = {" ".join(row) for row in specification.rows(specification.ENUMS)}
    assert specified == members, "correct ENUMS in tests/specification.py"


def test_a_bot_with_trades_keeps_its_owner(connection: Connection) -> None:
    connection.execute("UPDATE bot_configs SET user_id = 1000 WHERE id = 1")
    connection.execute("UPDATE bot_configs SET user_id = 1 WHERE id = 1")
    add(connection, "trades")
    with pytest.raises(
        psycopg.errors.ForeignKeyViolation, match="fk_trades_bot_config_id_user_id_bot_configs"
    ):
        connection.execute("UPDATE bot_configs SET user_id = 1000 WHERE id = 1")


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("trades", {"side": "SELL"})], id="sell before any buy"),
        pytest.param([("bot_configs", {})], id="same name and symbol twice"),
        pytest.param([("api_keys", {}), ("api_keys", {})], id="several keys"),
        pytest.param([("trades", {}), ("trades", {})], id="orders without an id"),
        pytest.param([("trades", {"quote_quantity_filled": 7})], id="quote unlike price * qty"),
        pytest.param([("bot_states", {"entry_price": 5})], id="position fields, no position"),
        pytest.param([("bot_states", {"in_position": True})], id="position without fields"),
        pytest.param(
            [("bot_states", {"entry_price": 5, "take_profit_price": 4, "stop_loss_price": 6})],
            id="take profit below, stop above entry",
        ),
        pytest.param(
            [("bot_configs", {"trailing_stop_active": True})], id="trailing stop without distance"
        ),
    ],
)
def test_unusual_but_valid_rows(
    connection: Connection, rows: list[tuple[str, dict[str, Any]]]
) -> None:
    for table, values in rows:
        add(connection, table, **values)
