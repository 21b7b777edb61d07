"""Rows that data migrations must preserve: extremes, NULLs, Unicode, timestamps.

Every column has at least two different values here. When a revision adds a table or a column,
add its values; when it removes or renames one, leave the old name: tests of earlier revisions
insert it. Names that a table does not have at a revision are omitted, and so are the rows that its
constraints refuse.
"""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_CLOCK_CHANGE = datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC)
EAST = datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=timezone(timedelta(hours=14)))
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
MAX_AMOUNT = Decimal("99999999999999999999.999999999999999999")
SMALLEST_AMOUNT = Decimal("0.000000000000000001")
# Not -MAX_AMOUNT: arithmetic rounds to the 28 digits of Python's decimal context.
MIN_AMOUNT = MAX_AMOUNT.copy_negate()
MAX_PERCENT = Decimal("999999.999999")
SMALLEST_PERCENT = Decimal("0.000001")

# Rows of each table, each table after those that it references.
ROWS: dict[str, list[dict[str, Any]]] = {
    "users": [
        {
            "id": 1,
            "email": "ada@example.com",
            "hashed_password": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
            "is_active": True,
            "created_at": NEW_YEAR,
            "updated_at": BEFORE_CLOCK_CHANGE,
        },
        {
            "id": 2_147_483_647,
            "email": "ŞÜKRÜ+'\"\\%@例え.テスト" + "x" * 280,
            "hashed_password": " ",
            "is_active": False,
            "created_at": EAST,
            "updated_at": LATEST,
        },
    ],
    "api_keys": [
        {
            "id": 1,
            "user_id": 1,
            "encrypted_api_key": "gAAAAA" * 1000,
            "encrypted_secret_key": "\t\r\n\\.",
            "label": None,
            "is_valid": True,
            "created_at": NEW_YEAR,
            "updated_at": BEFORE_CLOCK_CHANGE,
        },
        {
            "id": 2,
            "user_id": 2_147_483_647,
            "encrypted_api_key": "🔑",
            "encrypted_secret_key": "🔒" * 1000,
            "label": "e\u0301 is not \u00e9",
            "is_valid": False,
            "created_at": EAST,
            "updated_at": LATEST,
        },
        {
            "id": 3,
            "user_id": 1,
            "encrypted_api_key": "NULL",
            "encrypted_secret_key": "\\N",
            "label": "",
            "is_valid": False,
            "created_at": NEW_YEAR,
            "updated_at": NEW_YEAR,
        },
    ],
    "bot_configs": [
        {
            "id": 1,
            "user_id": 1,
            "name": "BTC/USDT EMA Cross",
            "symbol": "BTC/USDT",
            "timeframe": "1m",
            "is_active": True,
            "initial_capital": MAX_AMOUNT,
            "daily_target_perc": MAX_PERCENT,
            "max_daily_loss_perc": Decimal(100),
            "position_size_perc": SMALLEST_PERCENT,
            "position_size_fixed": SMALLEST_AMOUNT,
            "stop_loss_perc": Decimal("2.5"),
            "take_profit_perc": MAX_PERCENT,
            "trailing_stop_perc": Decimal("99.999999"),
            "trailing_stop_active": True,
            "ema_fast": 1,
            "ema_slow": 2_147_483_647,
            "rsi_period": 1,
            "rsi_oversold": 0,
            "rsi_overbought": 100,
            "max_daily_trades": 0,
            "check_interval_seconds": 1,
            "created_at": NEW_YEAR,
            "updated_at": BEFORE_CLOCK_CHANGE,
        },
        {
            "id": 2,
            "user_id": 2_147_483_647,
            "name": "",
            "symbol": "币安人生/USDT",
            "timeframe": "1M",
            "is_active": False,
            "initial_capital": None,
            "daily_target_perc": None,
            "max_daily_loss_perc": None,
            "position_size_perc": None,
            "position_size_fixed": None,
            "stop_loss_perc": Decimal(0),
            "take_profit_perc": Decimal(0),
            "trailing_stop_perc": None,
            "trailing_stop_active": False,
            "ema_fast": 9,
            "ema_slow": 21,
            "rsi_period": 14,
            "rsi_oversold": 49,
            "rsi_overbought": 50,
            "max_daily_trades": None,
            "check_interval_seconds": 2_147_483_647,
            "created_at": EAST,
            "updated_at": LATEST,
        },
    ],
    "bot_states": [
        {
            "id": 1,
            "status": "running",
            "in_position": True,
            "entry_price": MAX_AMOUNT,
            "current_position_size_coins": SMALLEST_AMOUNT,
            "trailing_stop_price": Decimal("63999.120000000000000001"),
            "max_price_since_entry": MAX_AMOUNT,
            "take_profit_price": MAX_AMOUNT,
            "stop_loss_price": Decimal(0),
            "daily_pnl": MIN_AMOUNT,
            "daily_trades_count": 2_147_483_647,
            "last_run_at": BEFORE_CLOCK_CHANGE,
            "last_error_message": "-1003: Too many requests\n" * 400,
            "last_updated_at": LATEST,
        },
        {
            "id": 2,
            "status": "error",
            "in_position": False,
            "entry_price": None,
            "current_position_size_coins": None,
            "trailing_stop_price": None,
            "max_price_since_entry": None,
            "take_profit_price": None,
            "stop_loss_price": None,
            "daily_pnl": SMALLEST_AMOUNT,
            "daily_trades_count": 1,
            "last_run_at": None,
            "last_error_message": None,
            "last_updated_at": EAST,
        },
    ],
    "trades": [
        {
            "id": 1,
            "bot_config_id": 1,
            "user_id": 1,
            "binance_order_id": "BTCUSDT:9223372036854775807",
            "symbol": "BTC/USDT",
            "side": "BUY",
            "order_type": "TAKE_PROFIT_LIMIT",
            "price": Decimal("64000.123456789012345678"),
            "quantity_filled": SMALLEST_AMOUNT,
            "quote_quantity_filled": MAX_AMOUNT,
            "commission_amount": -SMALLEST_AMOUNT,
            "commission_asset": "BNB",
            "pnl": None,
            "timestamp": NEW_YEAR,
        },
        {
            "id": 2,
            "bot_config_id": 2,
            "user_id": 2_147_483_647,
            "binance_order_id": None,
            "symbol": "币安人生/USDT",
            "side": "SELL",
            "order_type": "MARKET",
            "price": MAX_AMOUNT,
            "quantity_filled": Decimal(0),
            "quote_quantity_filled": Decimal(0),
            "commission_amount": None,
            "commission_asset": None,
            "pnl": MIN_AMOUNT,
            "timestamp": LATEST,
        },
        {
            "id": 3,
            "bot_config_id": 1,
            "user_id": 1,
            "binance_order_id": None,
            "symbol": "BTC/USDT",
            "side": "SELL",
            "order_type": "LIMIT_MAKER",
            "price": SMALLEST_AMOUNT,
            "quantity_filled": MAX_AMOUNT,
            "quote_quantity_filled": SMALLEST_AMOUNT,
            "commission_amount": MAX_AMOUNT,
            "commission_asset": "",
            "pnl": SMALLEST_AMOUNT,
            "timestamp": EAST,
        },
    ],
}
