"""The types of the models. Not run: ``tox -e types`` checks it."""

from datetime import datetime
from decimal import Decimal
from typing import assert_type

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import WriteOnlyCollection

from models import ApiKey, BotConfig, BotState, SessionLocal, Trade, User, engine
from models.database import make_engine
from models.trade import TradeValues


def relationships(user: User, bot: BotConfig, state: BotState, trade: Trade) -> None:
    assert_type(user.api_keys, list[ApiKey])
    assert_type(user.api_keys[0].owner, User)
    assert_type(user.bot_configs, list[BotConfig])
    assert_type(bot.owner, User)
    assert_type(bot.state, BotState | None)
    assert_type(bot.trades, WriteOnlyCollection[Trade])
    assert_type(state.config, BotConfig)
    assert_type(trade.bot, BotConfig)
    assert_type(trade.user, User)


def columns(user: User, bot: BotConfig, state: BotState, trade: Trade) -> None:
    assert_type(user.email, str)
    assert_type(user.is_active, bool)
    assert_type(user.created_at, datetime)
    assert_type(bot.max_daily_trades, int | None)
    assert_type(bot.initial_capital, Decimal | None)
    assert_type(state.last_error_message, str | None)
    assert_type(state.last_run_at, datetime | None)
    assert_type(trade.price, Decimal)


def values_of_trades(values: TradeValues) -> None:
    values["comission_amount"] = Decimal(1)  # type: ignore[typeddict-unknown-key]
    values["price"] = 0.3  # type: ignore[typeddict-item]


async def sessions() -> None:
    assert_type(engine, AsyncEngine)
    assert_type(make_engine("postgresql://localhost/bot"), AsyncEngine)
    async with SessionLocal() as session:
        assert_type(session, AsyncSession)
