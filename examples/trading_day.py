"""Two days of a small trading bot: ``python examples/trading_day.py --seed 7``.

Three workers run four bots against a simulated exchange that repeats, splits and reorders its
reports and drops connections. One worker is killed midway, and another replaces it. At
the end, the positions, days and profits in the database are compared with the exchange's own
books; the exit status is 1 if they differ. It works on the database that DATABASE_URL names, else
on the embedded one, after ``alembic upgrade head``. docs/life-of-a-bot.md explains what it does.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from exchange import BASE, QUOTE, Exchange, Report
from sqlalchemy import select, update
from sqlalchemy.exc import ProgrammingError
from worker import Worker

from models import (
    ApiKey,
    BotConfig,
    BotState,
    BotStatus,
    SessionLocal,
    Side,
    Timeframe,
    Trade,
    User,
    engine,
)
from models.queries import (
    bots_of_user,
    daily_pnl,
    fees_by_asset,
    forget_user,
    order_key,
    record_trades,
    refresh_day,
)

START = datetime(2026, 11, 24, tzinfo=UTC)
ROUNDS = 15
ROUND = timedelta(hours=3)
BOTS = 4


async def create_user() -> int:
    """Create a user with an API key and running bots; return its id."""
    async with SessionLocal.begin() as session:
        user = User(
            email=f"ada-{uuid4()}@example.com",
            # Hashing and encryption are the application's task.
            hashed_password="$argon2id$v=19$...",
            api_keys=[ApiKey(encrypted_api_key="gAAAAABo", encrypted_secret_key="gAAAAABp")],
            bot_configs=[
                BotConfig(
                    name=f"{BASE}/{QUOTE} EMA Cross {number}",
                    symbol=f"{BASE}/{QUOTE}",
                    timeframe=Timeframe.HOUR_1,
                    is_active=True,
                    position_size_fixed=Decimal(5_000),
                    stop_loss_perc=Decimal(2),
                    take_profit_perc=Decimal(2),
                    ema_fast=9,
                    ema_slow=21,
                    rsi_period=14,
                    rsi_oversold=30,
                    rsi_overbought=70,
                    check_interval_seconds=3600,
                    state=BotState(status=BotStatus.RUNNING),
                )
                for number in range(1, BOTS + 1)
            ],
        )
        session.add(user)
        await session.flush()
        return user.id


async def load_bots(user_id: int) -> Sequence[BotConfig]:
    """Load a user's bots."""
    async with SessionLocal() as session:
        return (await session.scalars(bots_of_user(user_id))).all()


def orders_of(exchange: Exchange, bot: BotConfig) -> list[Report]:
    """Return a bot's orders from the exchange's history, with their fees."""
    return [
        report
        for report in exchange.history(START)
        if report.client_order_id.startswith(f"bot-{bot.id}-")
    ]


async def make_due(user_id: int) -> None:
    """Make the bots due: the exchange's clock is faster than the database's."""
    bots = select(BotConfig.id).where(BotConfig.user_id == user_id)
    async with SessionLocal.begin() as session:
        await session.execute(
            update(BotState).where(BotState.id.in_(bots)).values(last_run_at=None)
        )


async def trade(user_id: int, exchange: Exchange) -> None:
    """Run the bots on workers for two days, kill one in the middle, and start each day."""
    workers = [Worker(engine, exchange, user_id) for _ in range(3)]
    for number in range(ROUNDS):
        await make_due(user_id)
        tasks = [asyncio.create_task(worker.run_due_bots()) for worker in workers]
        if number == ROUNDS // 2:
            await asyncio.sleep(exchange.random.random() / 50)
            tasks[0].cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        exchange.pass_time(ROUND)
        # At midnight, and once more: a trade that a killed worker committed around midnight may
        # have been counted with the day before.
        async with SessionLocal.begin() as session:
            await refresh_day(session, workers[0].midnight, user_id)


async def settle(user_id: int, exchange: Exchange) -> int:
    """Settle orders, import the exchange's history, and return the number of trades added.

    The same import restores the trades after a loss of the database.
    """
    worker = Worker(engine, exchange, user_id)
    bots = await load_bots(user_id)
    for bot in bots:
        await worker.run_until_settled(bot)
    rows = [worker.values(bot, report) for bot in bots for report in orders_of(exchange, bot)]
    async with SessionLocal.begin() as session:
        recorded = await record_trades(session, rows)
    return sum(result.is_new for result in recorded)


def books(exchange: Exchange, bot: BotConfig) -> tuple[Decimal, Decimal, Decimal, int]:
    """Return the amounts in the exchange's books: coins held, pnl, pnl and orders of the day.

    Computed from the fills alone, independently of the database and the worker.
    """
    held = pnl = today = Decimal(0)
    count = 0
    midnight = exchange.now.replace(hour=0, minute=0, second=0, microsecond=0)
    entry: Report | None = None
    for report in orders_of(exchange, bot):
        is_today = report.fills[0].timestamp >= midnight
        count += is_today
        if report.side == Side.BUY:
            entry, held = report, report.quantity - report.fees.get(BASE, Decimal(0))
        elif entry is not None:
            profit = report.quote_quantity - entry.quote_quantity
            for fill in (*entry.fills, *report.fills):
                if fill.fee_asset != BASE:
                    profit -= fill.fee * exchange.price_of(fill.fee_asset)
            held, pnl, today = Decimal(0), pnl + profit, today + profit * is_today
    return held, pnl, today, count


async def compare(user_id: int, exchange: Exchange) -> bool:
    """Print positions and profits from database and books; return whether they agree."""
    print(f"{'bot':24}{'held':>12}{'profit':>12}{'today':>12}{'orders today':>14}   books")
    agree = True
    async with SessionLocal() as session:
        for bot in await session.scalars(bots_of_user(user_id)):
            trades = (await session.scalars(bot.trades.select())).all()
            state = bot.state
            assert state is not None  # noqa: S101
            recorded = (
                state.current_position_size_coins or Decimal(0),
                sum((trade.pnl or Decimal(0) for trade in trades), Decimal(0)),
                state.daily_pnl,
                state.daily_trades_count,
            )
            same = recorded == books(exchange, bot) and trades_agree(exchange, bot, trades)
            agree &= same
            held, pnl, today, count = recorded
            print(
                f"{bot.name:24}{held:12.8f}{pnl:12.2f}{today:12.2f}{count:14}"
                f"   {'agree' if same else f'differ: {books(exchange, bot)}'}"
            )
    return agree


def trades_agree(exchange: Exchange, bot: BotConfig, trades: Sequence[Trade]) -> bool:
    """Return whether each order of a bot is recorded once, with all its fills."""
    expected = {
        order_key(report.symbol, report.order_id): (report.quantity, report.quote_quantity)
        for report in orders_of(exchange, bot)
    }
    recorded = {
        trade.binance_order_id: (trade.quantity_filled, trade.quote_quantity_filled)
        for trade in trades
    }
    return recorded == expected and len(trades) == len(expected)


async def report(user_id: int) -> None:
    """Print the result of each day, and the fees."""
    async with SessionLocal() as session:
        print(f"\n{'day':14}{'profit':>12}")
        for day, quote, pnl in await session.execute(daily_pnl(user_id, START)):
            print(f"{day}    {pnl:12.2f} {quote}")
        print(f"\n{'fees':14}{'amount':>12}")
        for asset, amount in await session.execute(fees_by_asset(user_id, START)):
            print(f"{asset:14}{amount:12.6f}")


async def close_account(user_id: int, exchange: Exchange) -> None:
    """Sell everything, then erase the user's personal data; the trades remain."""
    worker = Worker(engine, exchange, user_id)
    for bot in await load_bots(user_id):
        await worker.run_until_settled(bot, must_exit=True)
    async with SessionLocal.begin() as session:
        await forget_user(session, user_id)


async def run(seed: int) -> bool:
    """Run the example; return whether database and books agree."""
    # Order ids are unique in the database, also over several runs.
    exchange = Exchange(seed, START, first_order_id=time.time_ns())
    user_id = await create_user()
    await trade(user_id, exchange)
    added = await settle(user_id, exchange)
    print(f"{len(exchange.orders)} orders; the import of the history added {added}.\n")
    agree = await compare(user_id, exchange)
    await report(user_id)
    await close_account(user_id, exchange)
    print("\nAfter the account is closed, and everything is sold:")
    agree &= await compare(user_id, exchange)
    await engine.dispose()
    return agree


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of the simulated exchange")
    seed = parser.parse_args().seed
    try:
        agree = asyncio.run(run(seed))
    except ProgrammingError as error:
        sys.exit(f"ERROR {error.orig}. Run `alembic upgrade head` on this database first.")
    if not agree:
        sys.exit("The database and the exchange's books differ.")


if __name__ == "__main__":
    main()
