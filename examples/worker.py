"""A worker of the trading bot: claims due bots, and enters, monitors and leaves positions.

Any number of workers may run at once, and each may be killed at any point: the next run of a bot,
on any worker, first records what the exchange knows, and asks before it repeats anything.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from examples.exchange import (
    DIGITS,
    LOT,
    RECV_WINDOW,
    ApiError,
    ConnectionDropped,
    Payload,
    Simulation,
)
from models import BotConfig, BotState, SessionLocal, Side, engine
from models.binance import client_order_id, trade_values
from models.order_key import joined
from models.queries import (
    bot_lease,
    claim_due_bots,
    record_trade,
    record_trades,
    release_entry,
    reserve_entry,
    tick,
)
from models.trade import TradeValues

# The most that cannot be sold. A real worker also respects the filter ``NOTIONAL``.
DUST = LOT - DIGITS


class Worker:
    """Runs bots that are due."""

    def __init__(self, simulation: Simulation, user_id: int) -> None:
        """Use the bots of one user: the exchange has no orders of earlier simulations."""
        self.simulation = simulation
        self.exchange = simulation.exchange
        self.user_id = user_id

    @property
    def midnight(self) -> datetime:
        """Start of the day, in UTC by the exchange's clock."""
        return self.exchange.now.replace(hour=0, minute=0, second=0, microsecond=0)

    async def run_due_bots(self) -> None:
        """Run all bots that are due now."""
        while True:
            async with SessionLocal.begin() as session:
                # One at a time: if a worker is killed, others can claim the remaining bots.
                due = await claim_due_bots(session, limit=1)
            if not due:
                return
            (state,) = due
            async with (
                engine.connect() as connection,
                bot_lease(connection, state.id) as leased,
            ):
                if leased and state.config.user_id == self.user_id:
                    with suppress(ConnectionDropped):  # the next run settles it
                        await self.run(state.config)

    async def sell_all(self, bot: BotConfig) -> None:
        """Run a bot, without new entries, until it is flat."""
        in_position = True
        while in_position:
            with suppress(ConnectionDropped):
                in_position = await self.run(bot, must_exit=True)

    async def run(self, bot: BotConfig, *, must_exit: bool = False) -> bool:
        """Run a bot once, under its lease; return whether it may be in position.

        Raises:
            ConnectionDropped: What was sent may have arrived, or will, or not: the bot has to be
                run again.
        """
        number = await self.record_history(bot)
        async with SessionLocal() as session:
            # Under the lease: another worker may have changed it since.
            state = await session.get_one(BotState, bot.id)
        if state.in_position and state.entry_price is None:
            await self.settle_entry(bot)
        elif state.in_position:
            await self.monitor(bot, state, number, must_exit=must_exit)
        elif must_exit:
            return False
        elif self.simulation.choose([True, True, False]):  # the signal
            await self.enter(bot, number)
        return True

    async def record_history(self, bot: BotConfig) -> int:
        """Record the bot's orders as the exchange knows them; return their number.

        This is also how a database is restored. A real worker begins with the last order that is
        recorded (``orderId`` of ``GET /api/v3/allOrders``).
        """
        symbol, rows = joined(bot.symbol), []
        orders = self.simulation.request(self.exchange.all_orders, symbol)
        own = [o for o in orders if client_order_id(o).startswith(f"bot-{bot.id}-")]
        for order in own:
            fills = self.simulation.request(self.exchange.my_trades, symbol, order["orderId"])
            if (values := trade_values(bot, order, *fills)) is not None:
                rows.append(values)
        add_pnl(rows)
        async with SessionLocal.begin() as session:
            await record_trades(session, rows, dust=DUST, since=self.midnight)
        return len(own)

    async def enter(self, bot: BotConfig, number: int) -> None:
        """Reserve an entry, and send its order."""
        async with SessionLocal.begin() as session:
            reserved = await reserve_entry(session, bot.id)
        if reserved:
            price = self.exchange.price(joined(bot.symbol))
            await self.send(bot, number, Side.BUY, (bot.position_size_fixed or LOT) / price)

    async def settle_entry(self, bot: BotConfig) -> None:
        """Settle an entry that an earlier run has reserved: it is recorded, or will never be."""
        self.simulation.wait(RECV_WINDOW)  # until then, the order may still arrive
        await self.record_history(bot)
        async with SessionLocal.begin() as session:
            await release_entry(session, bot.id)

    async def monitor(
        self, bot: BotConfig, state: BotState, number: int, *, must_exit: bool
    ) -> None:
        """Check the price of an open position, and leave it at its limits."""
        price, entry = self.exchange.price(joined(bot.symbol)), state.entry_price or Decimal(0)
        low, high = (
            entry * (1 - bot.stop_loss_perc / 100),
            entry * (1 + bot.take_profit_perc / 100),
        )
        async with SessionLocal.begin() as session:
            await tick(
                session,
                bot.id,
                max_price_since_entry=max(price, state.max_price_since_entry or price),
                stop_loss_price=low,
                take_profit_price=high,
            )
        if must_exit or not low < price < high:
            # An exit that an earlier run has sent may still arrive. If so, it is in the history.
            self.simulation.wait(RECV_WINDOW)
            if await self.record_history(bot) == number:
                size = state.current_position_size_coins or Decimal(0)
                await self.send(bot, number, Side.SELL, size)

    async def send(self, bot: BotConfig, number: int, side: Side, quantity: Decimal) -> None:
        """Send an order, and record the answer and the reports.

        Its client order id has not been used: ``number`` orders of the bot have arrived, and no
        other is on its way.
        """
        order, symbol = f"bot-{bot.id}-{number}", joined(bot.symbol)
        lots = quantity.quantize(LOT, ROUND_DOWN)
        try:
            answer = self.simulation.request(self.exchange.new_order, symbol, side, lots, order)
        except ApiError:  # refused, so nothing happens
            async with SessionLocal.begin() as session:
                await release_entry(session, bot.id)
            return
        await self.record(bot, [answer])
        reports: list[Payload] = []
        for report in self.simulation.stream(order):
            reports.append(report)
            await self.record(bot, reports)

    async def record(self, bot: BotConfig, payloads: Sequence[Payload]) -> None:
        """Record what is said about an order; the next run adds the fees and the pnl."""
        if (values := trade_values(bot, *payloads)) is not None:
            async with SessionLocal.begin() as session:
                await record_trade(session, values, dust=DUST, since=self.midnight)


def add_pnl(orders: Sequence[TradeValues]) -> None:
    """State the pnl of exits, by average cost, net of the fees in the coin and in quote currency.

    It follows from the orders alone, so that every worker states the same.
    """
    coins = cost = Decimal(0)
    for order in sorted(orders, key=lambda order: order["timestamp"]):
        base, _, quote = order["symbol"].partition("/")
        fee, asset = order.get("commission_amount") or Decimal(0), order.get("commission_asset")
        amount, received = order["quantity_filled"], order["quote_quantity_filled"]
        if order["side"] == Side.BUY:
            coins += amount - (fee if asset == base else 0)
            cost += received + (fee if asset == quote else 0)
        else:
            share = min(amount / coins, Decimal(1)) if coins else Decimal(1)
            received -= fee if asset == quote else 0
            order["pnl"] = (received - cost * share).quantize(Decimal("1e-18"))
            cost -= cost * share
            coins -= amount + (fee if asset == base else 0)
