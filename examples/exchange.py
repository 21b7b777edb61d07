"""A simulated spot exchange, with the faults of a real one.

It repeats, splits and reorders its reports, and drops connections before or after it has accepted
an order. Its own books are always correct. Everything is determined by the seed.

The interface follows Binance's spot API: an order is filled in parts, and each part has a fee, in
the asset that was bought, in quote currency, or in BNB (docs of "Fill" in ``POST /api/v3/order``).
A report states cumulative amounts (``executionReport``: ``z``, ``Z``); ``GET /api/v3/order``
states no fee.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

BASE, QUOTE = "BTC", "USDT"
FEE = Decimal("0.001")
"""Fee, as a share of the amount."""
BNB_DISCOUNT = Decimal("0.75")
PRICES = {"BTC": Decimal(96_000), "BNB": Decimal(640), "USDT": Decimal(1)}
"""Prices at the start, in quote currency."""


class ConnectionDropped(Exception):  # noqa: N818 - as in the docs of network libraries
    """The connection broke: the request may have been carried out, or not."""


@dataclass(frozen=True)
class Fill:
    """A part of an order that was filled."""

    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    timestamp: datetime


@dataclass(frozen=True)
class Report:
    """A report of the exchange about an order: its cumulative amounts."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    fills: tuple[Fill, ...]
    is_final: bool
    has_fees: bool = True
    """``False`` for an answer to a query of the order, which does not state them."""

    @property
    def quantity(self) -> Decimal:
        """Quantity filled so far, in base currency."""
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def quote_quantity(self) -> Decimal:
        """Quantity filled so far, in quote currency."""
        return sum((fill.quantity * fill.price for fill in self.fills), Decimal(0))

    @property
    def fees(self) -> Mapping[str, Decimal]:
        """Fees so far, by asset."""
        fees: dict[str, Decimal] = {}
        for fill in self.fills if self.has_fees else ():
            fees[fill.fee_asset] = fees.get(fill.fee_asset, Decimal(0)) + fill.fee
        return fees


@dataclass
class Exchange:
    """The exchange, its clock, its prices and its books."""

    seed: int
    now: datetime
    first_order_id: int
    orders: dict[str, Report] = field(default_factory=dict)
    """The books: every order by its client order id, in its final state."""

    def __post_init__(self) -> None:
        """Start the simulation."""
        self.random = random.Random(self.seed)  # noqa: S311 - a simulation
        self.price = PRICES[BASE]

    def pass_time(self, time: timedelta) -> None:
        """Advance the clock, and move the price."""
        self.now += time
        self.price = (self.price * Decimal(self.random.uniform(0.96, 1.04))).quantize(
            Decimal("0.01")
        )

    def place_order(self, client_order_id: str, side: str, quantity: Decimal) -> None:
        """Accept a market order; one that repeats a client order id is the same order.

        Raises:
            ConnectionDropped: Before or after the order was accepted.
        """
        self._maybe_drop()
        if client_order_id not in self.orders:
            fills = tuple(self._fill(side, quantity))
            self.orders[client_order_id] = Report(
                self.first_order_id + len(self.orders),
                client_order_id,
                BASE + QUOTE,
                side,
                fills,
                is_final=True,
            )
        self._maybe_drop()

    def stream(self, client_order_id: str) -> Iterator[Report]:
        """Return reports of an order: partial ones, repeated ones, out of order.

        Raises:
            ConnectionDropped: Before, between or after the reports.
        """
        final = self.orders[client_order_id]
        partial = [
            Report(final.order_id, client_order_id, final.symbol, final.side, fills, False)
            for fills in (final.fills[:count] for count in range(1, len(final.fills)))
        ]
        reports = self.random.choices(partial, k=len(partial) * 2) if partial else []
        reports += [final] * self.random.randint(1, 2)
        self.random.shuffle(reports)
        for report in reports:
            self._maybe_drop()
            yield report

    def order(self, client_order_id: str) -> Report | None:
        """Query an order, as ``GET /api/v3/order`` does: without its fees.

        Raises:
            ConnectionDropped: Before the answer.
        """
        self._maybe_drop()
        final = self.orders.get(client_order_id)
        return final and Report(
            final.order_id, client_order_id, final.symbol, final.side, final.fills, True, False
        )

    def order_with_fees(self, client_order_id: str) -> Report:
        """Query the fills of an order, as ``GET /api/v3/myTrades`` does.

        Raises:
            ConnectionDropped: Before the answer.
        """
        self._maybe_drop()
        return self.orders[client_order_id]

    def history(self, since: datetime) -> list[Report]:
        """List the orders since a time with their fees, the sums of ``GET /api/v3/myTrades``."""
        return [order for order in self.orders.values() if order.fills[0].timestamp >= since]

    def price_of(self, asset: str) -> Decimal:
        """Return the price of an asset in quote currency, for the conversion of fees."""
        return PRICES[asset]

    def _fill(self, side: str, quantity: Decimal) -> Iterator[Fill]:
        parts = self.random.randint(1, 4)
        for part in range(parts):
            size = (quantity / parts).quantize(Decimal("0.00001"), ROUND_DOWN)
            if part == parts - 1:
                size = quantity - size * part
            price = self.price + self.random.randint(-50, 50)
            received, asset = (size, BASE) if side == "BUY" else (size * price, QUOTE)
            fee = received * FEE
            if self.random.random() < 0.5:
                fee, asset = size * price * FEE * BNB_DISCOUNT / PRICES["BNB"], "BNB"
            yield Fill(size, price, fee.quantize(Decimal("1e-8")), asset, self.now)

    def _maybe_drop(self) -> None:
        if self.random.random() < 0.1:
            raise ConnectionDropped("connection reset by peer")
