"""A worker of the trading bot: claims due bots, and opens, monitors and closes positions.

Any number of workers may run at once, and each may be killed at any point: the next run of a bot,
on any worker, reads the result of the last run from the database and the exchange.
"""

from contextlib import suppress
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from exchange import BASE, QUOTE, ConnectionDropped, Exchange, Report
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from models import BotConfig, BotState, OrderType, Side, Trade
from models.queries import (
    bot_lease,
    claim_due_bots,
    close_position,
    open_position,
    order_key,
    release_entry,
    reserve_entry,
    tick,
)

DIGITS = Decimal("1e-18")
LOT = Decimal("0.00001")
"""Step of quantities, as in Binance's filter ``LOT_SIZE``."""


class Worker:
    """Runs bots that are due."""

    def __init__(self, engine: AsyncEngine, exchange: Exchange, user_id: int) -> None:
        """Use the bots of one user: the exchange has no orders of earlier simulations."""
        self.engine = engine
        self.session = async_sessionmaker(engine, expire_on_commit=False)
        self.exchange = exchange
        self.user_id = user_id

    @property
    def midnight(self) -> datetime:
        """Start of the day, in UTC by the exchange's clock."""
        return self.exchange.now.replace(hour=0, minute=0, second=0, microsecond=0)

    async def run_due_bots(self) -> None:
        """Run all bots that are due now."""
        while True:
            async with self.session.begin() as session:
                # One at a time: if a worker is killed, others can claim the remaining bots.
                due = await claim_due_bots(session, limit=1)
            if not due:
                return
            (state,) = due
            async with (
                self.engine.connect() as connection,
                bot_lease(connection, state.id) as leased,
            ):
                if leased and state.config.user_id == self.user_id:
                    with suppress(ConnectionDropped):  # the next run settles it
                        await self.run(state.config)

    async def run_until_settled(self, bot: BotConfig, *, must_exit: bool = False) -> None:
        """Run a bot until its orders are settled; with ``must_exit``, until it has no position."""
        while True:
            with suppress(ConnectionDropped):
                await self.run(bot, may_trade=False, must_exit=must_exit)
                return

    async def run(
        self, bot: BotConfig, *, may_trade: bool = True, must_exit: bool = False
    ) -> None:
        """Run a bot once, under its lease.

        Raises:
            ConnectionDropped: The bot has to be run again.
        """
        async with self.session.begin() as session:
            # Read under the lease, as another worker may have changed it since the claim.
            state = await session.get_one(BotState, bot.id)
            entries = await session.scalar(
                select(func.count()).where(Trade.bot_config_id == bot.id, Trade.side == Side.BUY)
            )
        if state.in_position and state.entry_price is not None:
            number = (entries or 1) - 1
            await self.monitor(
                bot,
                f"bot-{bot.id}-entry-{number}",
                f"bot-{bot.id}-exit-{number}",
                may_trade=may_trade,
                must_exit=must_exit,
            )
        elif state.in_position:
            await self.settle_entry(bot, f"bot-{bot.id}-entry-{entries}")
        elif may_trade:
            await self.enter(bot, f"bot-{bot.id}-entry-{entries}")

    async def enter(self, bot: BotConfig, order: str) -> None:
        """Reserve an entry and send its order, unless the simulated signal is missing."""
        if self.exchange.random.random() < 0.3:
            return
        async with self.session.begin() as session:
            reserved = await reserve_entry(session, bot.id)
        if not reserved:
            return
        size = (bot.position_size_fixed or Decimal(0)) / self.exchange.price
        self.exchange.place_order(order, Side.BUY, size.quantize(LOT, ROUND_DOWN))
        for report in self.exchange.stream(order):
            await self.record_entry(bot, report)

    async def settle_entry(self, bot: BotConfig, order: str) -> None:
        """Settle the order of an entry that was reserved by an earlier run."""
        report = self.exchange.order(order)
        if report is None:
            async with self.session.begin() as session:
                await release_entry(session, bot.id)
            return
        await self.record_entry(bot, report)
        await self.record_entry(bot, self.exchange.order_with_fees(order))

    async def record_entry(self, bot: BotConfig, report: Report) -> None:
        """Record a report about an entry, and subtract a fee in coins from the position."""
        price = report.quote_quantity / report.quantity
        async with self.session.begin() as session:
            recorded = await open_position(
                session,
                self.values(bot, report),
                stop_loss_price=(price * (1 - bot.stop_loss_perc / 100)).quantize(DIGITS),
                take_profit_price=(price * (1 + bot.take_profit_perc / 100)).quantize(DIGITS),
                since=self.midnight,
            )
            # Once: a repeat of the final report changes nothing.
            if report.is_final and report.has_fees and recorded.is_changed:
                size = BotState.current_position_size_coins - report.fees.get(BASE, Decimal(0))
                await session.execute(tick(bot.id, current_position_size_coins=size))

    async def monitor(
        self, bot: BotConfig, entry: str, exit_: str, *, may_trade: bool, must_exit: bool
    ) -> None:
        """Check the price of an open position, and exit at its limits."""
        # A broken stream may lack the last report, or its fees.
        await self.record_entry(bot, self.exchange.order_with_fees(entry))
        price = self.exchange.price
        async with self.session.begin() as session:
            highest = func.greatest(BotState.max_price_since_entry, price)
            state = (await session.scalars(tick(bot.id, max_price_since_entry=highest))).one()
        low, high = state.stop_loss_price, state.take_profit_price
        is_within = low is not None and high is not None and low < price < high
        is_sent = self.exchange.order(exit_) is not None
        if must_exit or is_sent or (may_trade and not is_within):
            size = state.current_position_size_coins or Decimal(0)
            self.exchange.place_order(exit_, Side.SELL, size.quantize(LOT, ROUND_DOWN))
            for report in self.exchange.stream(exit_):
                await self.record_exit(bot, report, entry)

    async def record_exit(self, bot: BotConfig, report: Report, entry: str) -> None:
        """Record a report about an exit, with its pnl when it is final."""
        values = self.values(bot, report)
        if report.is_final:
            bought = self.exchange.order_with_fees(entry)
            values["pnl"] = self.pnl(bought, report)
        async with self.session.begin() as session:
            await close_position(session, values, closed=report.is_final, since=self.midnight)

    def pnl(self, entry: Report, exit_: Report) -> Decimal:
        """Return the profit of a position in quote currency, net of the fees of both orders.

        Coins withheld as a fee when buying were not sold: their value is already missing from
        the exit.
        """
        coins = entry.fees.get(BASE, Decimal(0)) * self.exchange.price_of(BASE)
        fees = self.in_quote(entry) - coins + self.in_quote(exit_)
        return (exit_.quote_quantity - entry.quote_quantity - fees).quantize(DIGITS)

    def in_quote(self, report: Report) -> Decimal:
        """Return the fees of an order, converted to quote currency."""
        fees = (fee * self.exchange.price_of(asset) for asset, fee in report.fees.items())
        return sum(fees, Decimal(0))

    def values(self, bot: BotConfig, report: Report) -> dict[str, Any]:
        """Return a report as the columns of a trade."""
        values = {
            "bot_config_id": bot.id,
            "user_id": bot.user_id,
            "binance_order_id": order_key(report.symbol, report.order_id),
            "symbol": bot.symbol,
            "side": report.side,
            "order_type": OrderType.MARKET,
            "price": (report.quote_quantity / report.quantity).quantize(DIGITS),
            "quantity_filled": report.quantity,
            "quote_quantity_filled": report.quote_quantity,
            "timestamp": report.fills[0].timestamp,
        }
        match list(report.fees.items()):
            case []:
                pass
            case [(asset, fee)]:
                values |= {"commission_amount": fee, "commission_asset": asset}
            case _:  # a column holds one currency
                fee = self.in_quote(report).quantize(DIGITS)
                values |= {"commission_amount": fee, "commission_asset": QUOTE}
        return values
