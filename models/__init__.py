"""The trading bot's tables as SQLAlchemy models, with the engine and the session factory."""

from typing import TYPE_CHECKING, Any

from models.api_key import ApiKey
from models.base import Base
from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus, OrderType, Side, Timeframe
from models.trade import Trade
from models.user import User

if TYPE_CHECKING:
    from models.database import SessionLocal, engine

__all__ = [
    "ApiKey",
    "Base",
    "BotConfig",
    "BotState",
    "BotStatus",
    "OrderType",
    "SessionLocal",
    "Side",
    "Timeframe",
    "Trade",
    "User",
    "engine",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: Alembic needs the tables only, and importing asyncpg takes time.
    if name in ("SessionLocal", "engine"):
        from models import database

        return getattr(database, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
