"""The trading bot's tables as SQLAlchemy models, and the engine and sessions to use them with."""

from models.api_key import ApiKey
from models.base import Base
from models.bot_config import BotConfig
from models.bot_state import BotState
from models.database import SessionLocal, engine
from models.enums import BotStatus, OrderType, Side, Timeframe
from models.trade import Trade
from models.user import User

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
