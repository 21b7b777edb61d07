"""Two days of a small trading bot: ``python examples/trading_day.py --seed 7``.

Three workers run four bots against a simulated exchange that follows Binance's rules; requests and
reports are lost, late, repeated and out of order. One worker is killed midway. At the end, the
positions, days and profits in the database are compared with the exchange's own books; the exit
status is 1 if they differ. It works on the database that DATABASE_URL names, else on the embedded
one, after ``alembic upgrade head``. docs/life-of-a-bot.md explains what it does.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.exc import ProgrammingError

# Python searches the directory of a script for modules, rather than the current one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.exchange import ConnectionDropped, Exchange, Simulation
from examples.worker import DUST, Worker
from models import (
    ApiKey,
    BotConfig,
    BotState,
    BotStatus,
    SessionLocal,
    Side,
    Timeframe,
    User,
    engine,
)
from models.queries import (
    bots_of_user,
    forget_user,
    order_key,
    refresh_day,
    stop_bot,
)

START = datetime(2026, 11, 24, tzinfo=UTC)
ROUNDS = 15
ROUND = timedelta(hours=3)
BOTS = 4


async def create_user() -> int:
    """Create a user with an API key and running bots; return its id."""
    user = User(
        email=f"ada-{uuid4()}@example.com",
        # Hashing and encryption are the application's task.
        hashed_password="$argon2id$v=19$...",
        api_keys=[ApiKey(encrypted_api_key="gAAAAABo", encrypted_secret_key="gAAAAABp")],
        bot_configs=[
            BotConfig(
                name=f"BTC/USDT EMA Cross {number}",
                symbol="BTC/USDT",
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
    async with SessionLocal.begin() as session:
        session.add(user)
    return user.id


async def load_bots(user_id: int) -> Sequence[BotConfig]:
    """Load a user's bots."""
    async with SessionLocal() as session:
        return (await session.scalars(bots_of_user(user_id))).all()


async def trade(user_id: int, simulation: Simulation) -> None:
    """Run the bots on workers for two days, kill one in the middle, and start each day."""
    workers = [Worker(simulation, user_id) for _ in range(3)]
    bots = select(BotConfig.id).where(BotConfig.user_id == user_id)
    # The exchange's clock is faster than the database's.
    make_due = update(BotState).where(BotState.id.in_(bots)).values(last_run_at=None)
    for number in range(ROUNDS):
        async with SessionLocal.begin() as session:
            await session.execute(make_due)
        tasks = [asyncio.create_task(worker.run_due_bots()) for worker in workers]
        if number == ROUNDS // 2:
            for _ in range(simulation.choose(range(30))):  # at any of its statements
                await asyncio.sleep(0)
            tasks[0].cancel()
        await asyncio.gather(*tasks[1:])
        with suppress(asyncio.CancelledError):
            await tasks[0]
        simulation.pass_time(ROUND)
        # At midnight, and again later, as in a time zone with daylight saving time.
        async with SessionLocal.begin() as session:
            await refresh_day(session, workers[0].midnight, user_id)


async def settle(user_id: int, simulation: Simulation) -> None:
    """Record what the exchange knows and the database does not, as after a restore."""
    worker = Worker(simulation, user_id)
    for bot in await load_bots(user_id):
        while True:
            with suppress(ConnectionDropped):
                await worker.settle_entry(bot)
                break


async def close_account(user_id: int, simulation: Simulation) -> None:
    """Sell everything, then erase the user's personal data; the trades remain."""
    worker = Worker(simulation, user_id)
    for bot in await load_bots(user_id):
        async with SessionLocal.begin() as session:
            await stop_bot(session, bot.id)
        await worker.sell_all(bot)
    async with SessionLocal.begin() as session:
        await forget_user(session, user_id)


# Coins held, profit, profit and number of orders of the day.
Result = tuple[Decimal, Decimal, Decimal, int]


def books(exchange: Exchange, bot: BotConfig) -> Result:
    """Return the result by the exchange's books, independently of the database and the worker."""
    base, _, quote = bot.symbol.partition("/")
    midnight = exchange.now.replace(hour=0, minute=0, second=0, microsecond=0)
    coins = cost = profit = today = Decimal(0)
    count = 0
    for order in exchange.orders_of(f"bot-{bot.id}-"):
        in_quote = order.fees.get(quote, Decimal(0))
        gain = Decimal(0)
        if order.side == Side.BUY:
            cost += order.quote_executed + in_quote
        else:
            sold = cost * min(order.executed / coins, Decimal(1))
            gain = (order.quote_executed - in_quote - sold).quantize(Decimal("1e-18"))
            cost -= sold
        coins += order.executed if order.side == Side.BUY else -order.executed
        coins -= order.fees.get(base, Decimal(0))
        profit += gain
        if order.fills[0].time >= midnight:
            today, count = today + gain, count + 1
    return coins, profit, today, count


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
            expected = books(exchange, bot)
            filled = exchange.orders_of(f"bot-{bot.id}-")
            same = (
                recorded == expected
                and state.in_position == (expected[0] > DUST)
                and len(trades) == len(filled)
                and {
                    (t.binance_order_id, t.quantity_filled, t.quote_quantity_filled)
                    for t in trades
                }
                == {(order_key(o.symbol, o.id), o.executed, o.quote_executed) for o in filled}
            )
            agree &= same
            held, pnl, today, count = recorded
            print(
                f"{bot.name:24}{held:12.8f}{pnl:12.2f}{today:12.2f}{count:14}"
                f"   {'agree' if same else f'differ: {expected}'}"
            )
    return agree


async def run(seed: int) -> bool:
    """Run the example; return whether database and books agree."""
    # Order ids are unique in the database, also over several runs.
    exchange = Exchange(START, first_order_id=time.time_ns())
    simulation = Simulation(exchange, random.Random(seed).choice)  # noqa: S311 - not a secret
    user_id = await create_user()
    await trade(user_id, simulation)
    await settle(user_id, simulation)
    print(
        f"{len(exchange.orders)} orders, of which {len(exchange.orders_of('bot'))} are filled.\n"
    )
    agree = await compare(user_id, exchange)
    await close_account(user_id, simulation)
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
