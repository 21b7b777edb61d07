"""A day of a trading bot, as the backend sees it: ``python examples/trading_day.py``.

Makes a user with an API key and a bot, records the fills that the exchange reports (each once,
however often it is reported), then shows the day's result and pages through the history. It
works on the database that DATABASE_URL names, else on the embedded one, after ``alembic upgrade
head``. Run it twice: the second run finds everything recorded already.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models import (
    ApiKey,
    BotConfig,
    BotState,
    OrderType,
    SessionLocal,
    Side,
    Timeframe,
    Trade,
    User,
    engine,
)
from models.queries import bot_result, record_trade, trades_of_bot

EMAIL = "ada@example.com"
DAY = datetime(2026, 11, 24, tzinfo=UTC)
QUANTITY = Decimal("0.05")
FEE = Decimal("0.001")  # of what is paid or received
# Order id, time of day, side, price: what the exchange reports. It has reported two fills twice,
# as it does after a lost connection.
REPORTS = [
    (4101, "09:15", Side.BUY, "96120.40"),
    (4102, "10:02", Side.SELL, "97105.10"),
    (4103, "11:30", Side.BUY, "97040.00"),
    (4104, "12:11", Side.SELL, "96410.25"),
    (4103, "11:30", Side.BUY, "97040.00"),
    (4104, "12:11", Side.SELL, "96410.25"),
    (4105, "14:45", Side.BUY, "96500.00"),
    (4106, "16:20", Side.SELL, "98333.30"),
    (4107, "21:05", Side.BUY, "98210.75"),
]


async def set_up(session: AsyncSession) -> BotConfig:
    """Find the example's bot, or make it together with its user, API key and state."""
    bot = await session.scalar(
        select(BotConfig).join(BotConfig.owner).where(User.email == EMAIL).limit(1)
    )
    if bot is None:
        bot = BotConfig(
            # Hashing and encrypting is the application's part.
            owner=User(
                email=EMAIL,
                hashed_password="$argon2id$v=19$...",
                api_keys=[
                    ApiKey(encrypted_api_key="gAAAAABo...", encrypted_secret_key="gAAAAABp...")
                ],
            ),
            name="BTC/USDT EMA Cross",
            symbol="BTC/USDT",
            timeframe=Timeframe.HOUR_1,
            stop_loss_perc=Decimal("2.5"),
            take_profit_perc=Decimal(5),
            ema_fast=9,
            ema_slow=21,
            rsi_period=14,
            rsi_oversold=30,
            rsi_overbought=70,
            state=BotState(),
        )
        session.add(bot)
        await session.flush()
    return bot


async def record(session: AsyncSession, bot: BotConfig) -> int:
    """Record what the exchange reports, and return how many trades were new."""
    new = 0
    cost = Decimal(0)
    for order, time, side, price in REPORTS:
        quote = Decimal(price) * QUANTITY
        fee = quote * FEE
        if side == Side.BUY:
            cost, pnl = quote + fee, None
        else:
            pnl = quote - fee - cost
        hours, minutes = time.split(":")
        values = {
            "bot_config_id": bot.id,
            "user_id": bot.user_id,
            # The exchange numbers orders within a symbol.
            "binance_order_id": f"BTCUSDT:{order}",
            "symbol": bot.symbol,
            "side": side,
            "order_type": OrderType.MARKET,
            "price": Decimal(price),
            "quantity_filled": QUANTITY,
            "quote_quantity_filled": quote,
            "commission_amount": fee,
            "commission_asset": "USDT",
            "pnl": pnl,
            "timestamp": DAY + timedelta(hours=int(hours), minutes=int(minutes)),
        }
        # A report that came before changes nothing.
        new += (await record_trade(session, values)).is_new
    return new


async def pages(session: AsyncSession, bot: BotConfig, size: int) -> AsyncIterator[list[Trade]]:
    """Go through a bot's trades, the latest first.

    By keyset: a page begins after the last trade of the one before, so that the hundredth page is
    as fast as the first, and a trade that comes in meanwhile shifts nothing.
    """
    before = None
    while page := list(await session.scalars(trades_of_bot(bot.id, before, size))):
        yield page
        before = page[-1].timestamp, page[-1].id


def row(trade: Trade) -> str:
    """Return a line of the table of trades."""
    pnl = "" if trade.pnl is None else f"{trade.pnl:+,.2f}"
    return (
        f"{trade.timestamp:%H:%M}  {trade.side:4} {trade.price:10,.2f}"
        f" {trade.quantity_filled:9.4f} {trade.quote_quantity_filled:10,.2f} {pnl:>9}"
    ).rstrip()


async def main() -> None:
    """Do all of it, and print what happens."""
    async with SessionLocal.begin() as session:
        bot = await set_up(session)
        new = await record(session, bot)
    print(f"{bot.name}: {len(REPORTS)} reports, {new} new trades")
    async with SessionLocal() as session:
        trades, pnl = (await session.execute(bot_result(bot.id, since=DAY))).one()
        print(f"{DAY:%Y-%m-%d}: {trades} trades, pnl {pnl:+,.2f} USDT")
        async for page in pages(session, bot, size=3):
            print("\ntime   side      price  quantity      value       pnl")
            print(*map(row, page), sep="\n")
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
