"""Factories of valid rows: each function takes the values that matter to the test."""

from decimal import Decimal
from itertools import count
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models import ApiKey, BotConfig, BotState, Trade, User
from tests import specification
from tests.rows import ROWS

_numbers = count(1)

# Ordinary values instead of the extremes of ``tests/rows.py``.
_ORDINARY: dict[str, dict[str, Any]] = {
    "users": {"email": "ada@example.com", "hashed_password": "$argon2id$..."},
    "api_keys": {"user_id": 1, "encrypted_api_key": "gAAAA1", "encrypted_secret_key": "gAAAA2"},
    "bot_configs": {
        "user_id": 1,
        "name": "BTC/USDT EMA Cross",
        "symbol": "BTC/USDT",
        "timeframe": "1h",
        "stop_loss_perc": Decimal("2.5"),
        "take_profit_perc": Decimal(5),
        "ema_fast": 9,
        "ema_slow": 21,
        "rsi_period": 14,
        "rsi_oversold": 30,
        "rsi_overbought": 70,
    },
    "bot_states": {"id": 1},
    "trades": {
        "bot_config_id": 1,
        "user_id": 1,
        "symbol": "BTC/USDT",
        "side": "BUY",
        "order_type": "MARKET",
        "price": Decimal("64000.12"),
        "quantity_filled": Decimal("0.001"),
        "quote_quantity_filled": Decimal("64.00012"),
    },
}


def _minimal(table: str) -> dict[str, Any]:
    first = ROWS.get(table, [{}])[0]
    return {name: first[name] for name in specification.required(table) if name in first}


# A minimal valid row of each table. Foreign keys refer to rows with id 1.
MINIMAL_ROWS = {
    table: _minimal(table) | _ORDINARY.get(table, {}) for table in specification.tables()
}


def _values(table: str, references: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in MINIMAL_ROWS[table].items() if name not in references
    } | values


def user(**values: Any) -> User:
    return User(**_values("users", (), {"email": f"user{next(_numbers)}@example.com"} | values))


def api_key(**values: Any) -> ApiKey:
    return ApiKey(**_values("api_keys", ("user_id",), values))


def bot_config(**values: Any) -> BotConfig:
    return BotConfig(**_values("bot_configs", ("user_id",), values))


def running_bot(**state: Any) -> BotConfig:
    """Return a running bot with its own owner."""
    running = bot_state(**({"status": "running"} | state))
    return bot_config(owner=user(), is_active=True, state=running)


async def add_bot(session: AsyncSession, symbol: str = "BTC/USDT", **state: Any) -> BotConfig:
    bot = running_bot(**state)
    bot.symbol = symbol
    session.add(bot)
    await session.flush()
    return bot


def bot_state(**values: Any) -> BotState:
    return BotState(**_values("bot_states", ("id",), values))


def trade(bot: BotConfig, **values: Any) -> Trade:
    """Return a trade of a bot, which need not be stored yet."""
    values = {"bot": bot, "user": bot.owner} | values
    return Trade(**_values("trades", ("bot_config_id", "user_id"), values))
