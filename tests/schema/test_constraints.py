"""Each constraint rejects invalid rows and accepts the nearest valid ones.

``test_specification.py`` compares NOT NULL, the lengths of texts, defaults and primary keys.
"""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from models import BotStatus, OrderType, Side, Timeframe
from tests import specification
from tests.support.factories import MINIMAL_ROWS
from tests.trading_bot import HEAD
from verification import Databases
from verification.databases import insert

Connection = psycopg.Connection[Any]

CHECKS = """
constraint
    invalid row                                        | nearest valid row

ck_users_email_not_empty
    email=                                             | email=a
ck_api_keys_encrypted_api_key_not_empty
    encrypted_api_key=                                 | encrypted_api_key=x
ck_api_keys_encrypted_secret_key_not_empty
    encrypted_secret_key=                              | encrypted_secret_key=x
ck_bot_configs_symbol_not_empty
    symbol=                                            | symbol=币安人生/USDT
ck_bot_configs_timeframe_known
    timeframe=1H                                       | timeframe=1h
    timeframe=2M                                       | timeframe=1M
ck_bot_configs_initial_capital_non_negative
    initial_capital=-0.000000000000000001              | initial_capital=0
ck_bot_configs_daily_target_perc_non_negative
    daily_target_perc=-0.000001                        | daily_target_perc=0
    daily_target_perc=NaN                              | daily_target_perc=999999.999999
ck_bot_configs_max_daily_loss_perc_percentage
    max_daily_loss_perc=-0.000001                      | max_daily_loss_perc=0
    max_daily_loss_perc=100.000001                     | max_daily_loss_perc=100
ck_bot_configs_position_size_perc_percentage
    position_size_perc=-0.000001                       | position_size_perc=0
    position_size_perc=100.000001                      | position_size_perc=100
ck_bot_configs_position_size_fixed_non_negative
    position_size_fixed=-0.000000000000000001          | position_size_fixed=0
ck_bot_configs_stop_loss_perc_percentage
    stop_loss_perc=-0.000001                           | stop_loss_perc=0
    stop_loss_perc=100.000001                          | stop_loss_perc=100
ck_bot_configs_take_profit_perc_non_negative
    take_profit_perc=-0.000001                         | take_profit_perc=0
    take_profit_perc=NaN                               | take_profit_perc=1000
ck_bot_configs_trailing_stop_perc_percentage
    trailing_stop_perc=-0.000001                       | trailing_stop_perc=0
    trailing_stop_perc=100.000001                      | trailing_stop_perc=100
ck_bot_configs_ema_fast_at_least_1
    ema_fast=0                                         | ema_fast=1
ck_bot_configs_ema_fast_below_slow
    ema_fast=21 ema_slow=21                            | ema_fast=20 ema_slow=21
ck_bot_configs_rsi_period_at_least_1
    rsi_period=0                                       | rsi_period=1
ck_bot_configs_rsi_thresholds_ordered
    rsi_oversold=-1                                    | rsi_oversold=0
    rsi_overbought=101                                 | rsi_overbought=100
    rsi_oversold=70                                    | rsi_oversold=69
ck_bot_configs_max_daily_trades_at_least_0
    max_daily_trades=-1                                | max_daily_trades=0
ck_bot_configs_check_interval_seconds_at_least_1
    check_interval_seconds=0                           | check_interval_seconds=1
ck_bot_states_status_known
    status=Running                                     | status=running
ck_bot_states_entry_price_non_negative
    entry_price=-0.000000000000000001                  | entry_price=0
ck_bot_states_current_position_size_coins_not_nan
    current_position_size_coins=NaN                    | current_position_size_coins=0
ck_bot_states_trailing_stop_price_non_negative
    trailing_stop_price=-0.000000000000000001          | trailing_stop_price=0
ck_bot_states_max_price_since_entry_non_negative
    max_price_since_entry=-0.000000000000000001        | max_price_since_entry=0
ck_bot_states_take_profit_price_non_negative
    take_profit_price=-0.000000000000000001            | take_profit_price=0
ck_bot_states_stop_loss_price_non_negative
    stop_loss_price=-0.000000000000000001              | stop_loss_price=0
ck_bot_states_daily_pnl_not_nan
    daily_pnl=NaN                                      | daily_pnl=-99999999999999999999.9999
ck_bot_states_daily_trades_count_at_least_0
    daily_trades_count=-1                              | daily_trades_count=0
ck_trades_binance_order_id_not_empty
    binance_order_id=                                  | binance_order_id=BTCUSDT:28
ck_trades_symbol_not_empty
    symbol=                                            | symbol=1
ck_trades_side_known
    side=HOLD                                          | side=SELL
    side=buy                                           | side=BUY
ck_trades_order_type_upper_case
    order_type=Market                                  | order_type=MARKET
    order_type=2_LEGS                                  | order_type=LEGS_2
    order_type=_PEGGED                                 | order_type=PEGGED_TO_INDEX
    order_type=                                        | order_type=X
ck_trades_price_non_negative
    price=-0.000000000000000001                        | price=0
ck_trades_quantity_filled_non_negative
    quantity_filled=-0.000000000000000001              | quantity_filled=0
ck_trades_quote_quantity_filled_non_negative
    quote_quantity_filled=-0.000000000000000001        | quote_quantity_filled=0
ck_trades_commission_amount_not_nan
    commission_amount=NaN                              | commission_amount=-0.1
ck_trades_pnl_not_nan
    pnl=NaN                                            | pnl=-99999999999999999999.9999
"""


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
    for cells in specification.rows(CHECKS, "|")[2:]:
        if len(cells) == 1:
            (constraint,) = cells
            table = next(name for name in MINIMAL_ROWS if constraint.startswith(f"ck_{name}_"))
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
    assert re.fullmatch(constraint, error.diag.constraint_name or "")
    add(connection, table, **valid)


def test_every_check_is_tested(connection: Connection) -> None:
    query = (
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace <> 11"
        " AND conrelid::regclass::text = ANY (%s)"
    )
    names = connection.execute(query, [list(MINIMAL_ROWS)])
    assert {name for (name,) in names} == {constraint for constraint, *_ in checks()}


@pytest.mark.parametrize("column", specification.numeric_columns())
def test_nan_and_infinity_are_rejected(connection: Connection, column: str) -> None:
    table, name = column.split(".")
    assert isinstance(refused(connection, table, **{name: "NaN"}), psycopg.errors.CheckViolation)
    for infinity in ("Infinity", "-Infinity"):
        error = refused(connection, table, **{name: infinity})
        assert isinstance(error, psycopg.errors.NumericValueOutOfRange)
    add(connection, table, **{name: "12.345678"})


def test_enums_have_the_specified_members() -> None:
    assert {*Side} == {"BUY", "SELL"}
    assert {*BotStatus} == {"running", "stopped", "error"}
    assert " ".join(OrderType) == (
        "LIMIT MARKET STOP_LOSS STOP_LOSS_LIMIT TAKE_PROFIT TAKE_PROFIT_LIMIT LIMIT_MAKER"
    )
    assert " ".join(Timeframe) == "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"


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
