"""A simulated account on Binance's spot market: the exchange's rules, and the network's faults.

:class:`Exchange` follows Binance's documents (each rule names its page of "Binance Spot API Docs")
and does exactly what it is told. Its payloads have the shapes of the REST API and of the user data
stream. Its books say what the account really holds, so they judge what others believe.

:class:`Simulation` decides the rest: what the market offers, and which requests and reports are
lost, late or repeated. It takes each decision with ``choose(options)``, so that
``random.Random(seed).choice`` makes a run that its seed determines, and Hypothesis one that it can
shorten.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from functools import partial
from itertools import count
from typing import Any, ParamSpec, Protocol, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
Payload = dict[str, Any]

ZERO, DIGITS = Decimal(0), Decimal("1e-8")
SYMBOLS = {"BTCUSDT": ("BTC", "USDT"), "ETHBTC": ("ETH", "BTC"), "BNBUSDT": ("BNB", "USDT")}
# At the start: prices in USDT, and what the account has.
PRICES = {"BTC": Decimal(96_000), "ETH": Decimal(3_300), "BNB": Decimal(640), "USDT": Decimal(1)}
BALANCES = {"USDT": Decimal(10**6), "BTC": Decimal(10), "ETH": Decimal(10), "BNB": Decimal(10)}
# Commission as a share of what is received, and what of it is paid in BNB (commission_faq.md).
FEE, BNB_DISCOUNT = Decimal("0.001"), Decimal("0.75")
# minQty and stepSize of LOT_SIZE, and tickSize of PRICE_FILTER (filters.md).
LOT, TICK = Decimal("0.00001"), Decimal("0.00001")
# How long a request is valid, by default (rest-api.md, "Timing security").
RECV_WINDOW = timedelta(seconds=5)
CLIENT_ORDER_ID = re.compile("[a-zA-Z0-9_-]{1,36}")  # fix-api.md


class ApiError(Exception):
    """The exchange refused a request, and did nothing: Binance's error code and message."""


class ConnectionDropped(Exception):  # noqa: N818 - as in the docs of network libraries
    """There is no answer: the request was carried out, or will be, or never."""


@dataclass(frozen=True)
class Fill:
    """A part of an order that was filled; Binance calls it a trade."""

    id: int
    quantity: Decimal
    price: Decimal
    quote_quantity: Decimal
    fee: Decimal
    fee_asset: str
    time: datetime


@dataclass
class Order:
    """An order that the exchange has accepted."""

    id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    quantity: Decimal
    price: Decimal
    created: datetime
    updated: datetime
    status: str = "NEW"
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it may still be filled (enums.md, "Order status")."""
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def executed(self) -> Decimal:
        """Quantity filled so far, in base currency."""
        return sum((fill.quantity for fill in self.fills), ZERO)

    @property
    def quote_executed(self) -> Decimal:
        """Quantity filled so far, in quote currency."""
        return sum((fill.quote_quantity for fill in self.fills), ZERO)

    @property
    def fees(self) -> dict[str, Decimal]:
        """Commission so far, by asset."""
        fees: defaultdict[str, Decimal] = defaultdict(Decimal)
        for fill in self.fills:
            fees[fill.fee_asset] += fill.fee
        return dict(fees)


class Exchange:
    """The matching engine, its clock, and the books of one account.

    Attributes:
        now: The exchange's clock.
        prices: Current price of each asset, in USDT.
        balances: What the account has of each asset.
        orders: The orders that were accepted, in turn.
        reports: The ``executionReport`` of each event, in turn (user-data-stream.md, "Order
            Update").
        commission_rate: Share of what is received; negative: a rebate.
        pays_in_bnb: Whether the commission is taken from BNB, at a discount, if they are enough.
        offers: Returns what an order that takes liquidity finds: quantities and their prices, in
            turn. By default its whole quantity at the current price.
    """

    def __init__(self, now: datetime, first_order_id: int = 1) -> None:
        """Start the clock; orders are numbered within a symbol, from the first id."""
        self.now = now
        self.prices = dict(PRICES)
        self.balances = defaultdict(Decimal, BALANCES)
        self.orders: list[Order] = []
        self.reports: list[Payload] = []
        self.commission_rate = FEE
        self.pays_in_bnb = False
        self.offers: Callable[[Order], Iterable[tuple[Decimal, Decimal]]] = lambda order: [
            (order.quantity, self.price(order.symbol))
        ]
        self._order_ids = {symbol: count(first_order_id) for symbol in SYMBOLS}

    # Requests

    def new_order(
        self,
        symbol: str,
        side: str,
        quantity: Decimal,
        client_order_id: str,
        *,
        type: str = "MARKET",  # noqa: A002 - the name of Binance's parameter
        price: Decimal = ZERO,
    ) -> Payload:
        """Accept an order, as ``POST /api/v3/order``; return its ``FULL`` response.

        A MARKET order takes what the market offers, and the rest of it expires
        (faqs/market_orders_faq.md). Others wait in the book for :meth:`fill`.

        Raises:
            ApiError: -1100, the client order id has characters that are not allowed; -1013, the
                quantity is not a multiple of the lot; -2010, an open order has the client order
                id (that of one that is no longer open is accepted again: rest-api.md, "New
                order"), or the balance is insufficient, which is also reported.
        """
        if not CLIENT_ORDER_ID.fullmatch(client_order_id):
            raise ApiError(-1100, "Illegal characters found in parameter 'newClientOrderId'")
        if quantity < LOT or quantity % LOT:
            raise ApiError(-1013, "Filter failure: LOT_SIZE")
        if any(order.client_order_id == client_order_id for order in self._open(symbol)):
            raise ApiError(-2010, "Duplicate order sent.")
        order = Order(
            next(self._order_ids[symbol]),
            client_order_id,
            symbol,
            side,
            type,
            quantity,
            price,
            created=self.now,
            updated=self.now,
        )
        if not self._is_covered(order):
            order.status = "REJECTED"
            self._report(order, "REJECTED", r="INSUFFICIENT_BALANCES")
            raise ApiError(-2010, "Account has insufficient balance for requested action.")
        self.orders.append(order)
        self._report(order, "NEW")
        if type == "MARKET":
            self.take_offers(order)
            if order.is_open:
                self.end(order, "EXPIRED")
        return _response(order)

    def cancel_order(self, symbol: str, client_order_id: str) -> Payload:
        """Cancel an open order, as ``DELETE /api/v3/order``; what is filled remains.

        In the response and in the report, the client order id is that of the cancellation
        (rest-api.md, "Cancel order").

        Raises:
            ApiError: -2011, there is no such open order (errors.md, "Unknown order sent").
        """
        for order in self._open(symbol):
            if order.client_order_id == client_order_id:
                self.end(order, "CANCELED", c=f"cancel-{client_order_id}", C=client_order_id)
                canceled = _response(order) | {
                    "origClientOrderId": client_order_id,
                    "clientOrderId": f"cancel-{client_order_id}",
                }
                return {k: v for k, v in canceled.items() if k not in ("fills", "workingTime")}
        raise ApiError(-2011, "Unknown order sent.")

    def query_order(self, symbol: str, client_order_id: str) -> Payload:
        """Query the latest order with a client order id, as ``GET /api/v3/order``; without fees.

        Raises:
            ApiError: -2013, there is none (errors.md). One that was sent may still arrive, until
                its ``recvWindow`` has passed.
        """
        for order in reversed(self.orders):
            if (order.symbol, order.client_order_id) == (symbol, client_order_id):
                return _state(order)
        raise ApiError(-2013, "Order does not exist.")

    def all_orders(self, symbol: str) -> list[Payload]:
        """List all orders of a symbol, as ``GET /api/v3/allOrders``; without their fees."""
        return [_state(order) for order in self.orders if order.symbol == symbol]

    def my_trades(self, symbol: str, order_id: int | None = None) -> list[Payload]:
        """List the fills of a symbol, or of an order, as ``GET /api/v3/myTrades``."""
        return [
            _trade(order, fill)
            for order in self.orders
            if order.symbol == symbol and order_id in (None, order.id)
            for fill in order.fills
        ]

    # Events of the market

    def take_offers(self, order: Order) -> None:
        """Fill an open order with what the market offers, at its own price if it has one."""
        for quantity, price in self.offers(order):
            if order.is_open:
                rest = order.quantity - order.executed
                self.fill(order, min(quantity, rest), order.price or price)

    def fill(self, order: Order, quantity: Decimal, price: Decimal) -> None:
        """Fill a part of an open order, and report it with the commission of this part alone.

        The commission is taken from what is received, or from BNB (faqs/commission_faq.md).
        """
        base, quote = SYMBOLS[order.symbol]
        sign = 1 if order.side == "BUY" else -1
        amount = (quantity * price).quantize(DIGITS, ROUND_DOWN)
        received, fee_asset = (quantity, base) if sign > 0 else (amount, quote)
        fee = received * self.commission_rate
        in_bnb = fee * BNB_DISCOUNT * self.prices[fee_asset] / self.prices["BNB"]
        if self.pays_in_bnb and in_bnb <= self.balances["BNB"]:
            fee, fee_asset = in_bnb, "BNB"
        fee = fee.quantize(DIGITS, ROUND_DOWN)
        number = 1 + sum(len(other.fills) for other in self.orders if other.symbol == order.symbol)
        order.fills.append(Fill(number, quantity, price, amount, fee, fee_asset, self.now))
        order.status = "PARTIALLY_FILLED" if order.executed < order.quantity else "FILLED"
        self.balances[base] += sign * quantity
        self.balances[quote] -= sign * amount
        self.balances[fee_asset] -= fee
        self._report(order, "TRADE", order.fills[-1])

    def end(self, order: Order, status: str, **report: Any) -> None:
        """End an open order, with what is filled: CANCELED, EXPIRED or EXPIRED_IN_MATCH.

        The last is due to self-trade prevention (faqs/stp_faq.md).
        """
        order.status = status
        execution = "TRADE_PREVENTION" if status == "EXPIRED_IN_MATCH" else status
        self._report(order, execution, **report)

    # Books

    def price(self, symbol: str) -> Decimal:
        """Return the current price of a symbol, in quote currency."""
        base, quote = SYMBOLS[symbol]
        return (self.prices[base] / self.prices[quote]).quantize(TICK)

    def orders_of(self, prefix: str) -> list[Order]:
        """Return the filled orders whose client order ids begin so, those of a bot for example."""
        return [o for o in self.orders if o.fills and o.client_order_id.startswith(prefix)]

    def held(self, prefix: str) -> Decimal:
        """Return what is left of such orders: coins bought, less sold, less fees in coins."""
        return sum(
            (
                (order.executed if order.side == "BUY" else -order.executed)
                - order.fees.get(SYMBOLS[order.symbol][0], ZERO)
                for order in self.orders_of(prefix)
            ),
            ZERO,
        )

    def _open(self, symbol: str) -> list[Order]:
        return [order for order in self.orders if order.symbol == symbol and order.is_open]

    def _is_covered(self, order: Order) -> bool:
        def need(order: Order) -> tuple[str, Decimal]:
            base, quote = SYMBOLS[order.symbol]
            rest = order.quantity - order.executed
            price = order.price or self.price(order.symbol)
            return (base, rest) if order.side == "SELL" else (quote, rest * price)

        asset, amount = need(order)
        needs = map(need, (other for symbol in SYMBOLS for other in self._open(symbol)))
        locked = sum((locked for name, locked in needs if name == asset), ZERO)
        return amount <= self.balances[asset] - locked

    def _report(self, order: Order, execution: str, fill: Fill | None = None, **more: Any) -> None:
        order.updated = self.now
        self.reports.append(
            _execution_report(order, execution, fill, len(self.reports) + 1) | more
        )


def _execution_report(
    order: Order, execution: str, fill: Fill | None, execution_id: int
) -> Payload:
    """Write an ``executionReport`` (user-data-stream.md, "Order Update")."""
    return {
        "e": "executionReport",
        "E": milliseconds(order.updated) + 1,
        "s": order.symbol,
        "c": order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": "GTC",
        "q": decimal(order.quantity),
        "p": decimal(order.price),
        "P": decimal(ZERO),
        "F": decimal(ZERO),
        "g": -1,
        "C": "",
        "x": execution,
        "X": order.status,
        "r": "NONE",
        "i": order.id,
        "l": decimal(fill.quantity if fill else ZERO),
        "z": decimal(order.executed),
        "L": decimal(fill.price if fill else ZERO),
        "n": decimal(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": milliseconds(order.updated),
        "t": fill.id if fill else -1,
        "I": execution_id,
        "w": order.is_open and order.type != "MARKET",
        "m": order.type != "MARKET" and fill is not None,
        "M": fill is not None,
        "O": milliseconds(order.created),
        "Z": decimal(order.quote_executed),
        "Y": decimal(fill.quote_quantity if fill else ZERO),
        "Q": decimal(ZERO),
        "W": milliseconds(order.created),
        "V": "NONE",
    }


def _amounts(order: Order) -> Payload:
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "price": decimal(order.price),
        "origQty": decimal(order.quantity),
        "executedQty": decimal(order.executed),
        "origQuoteOrderQty": decimal(ZERO),
        "cummulativeQuoteQty": decimal(order.quote_executed),
        "status": order.status,
        "timeInForce": "GTC",
        "type": order.type,
        "side": order.side,
        "workingTime": milliseconds(order.created),
        "selfTradePreventionMode": "NONE",
    }


def _response(order: Order) -> Payload:
    """Write a response to a new order (rest-api.md, "New order", "Response - FULL")."""
    return _amounts(order) | {
        "transactTime": milliseconds(order.updated),
        "fills": [
            {
                "price": decimal(fill.price),
                "qty": decimal(fill.quantity),
                "commission": decimal(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.id,
            }
            for fill in order.fills
        ],
    }


def _state(order: Order) -> Payload:
    """Write the state of an order (rest-api.md, "Query order")."""
    return _amounts(order) | {
        "stopPrice": decimal(ZERO),
        "icebergQty": decimal(ZERO),
        "time": milliseconds(order.created),
        "updateTime": milliseconds(order.updated),
        "isWorking": True,
    }


def _trade(order: Order, fill: Fill) -> Payload:
    """Write a fill (rest-api.md, "Account trade list")."""
    return {
        "symbol": order.symbol,
        "id": fill.id,
        "orderId": order.id,
        "orderListId": -1,
        "price": decimal(fill.price),
        "qty": decimal(fill.quantity),
        "quoteQty": decimal(fill.quote_quantity),
        "commission": decimal(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": milliseconds(fill.time),
        "isBuyer": order.side == "BUY",
        "isMaker": order.type != "MARKET",
        "isBestMatch": True,
    }


def decimal(amount: Decimal) -> str:
    """Write an amount as Binance does: a string with 8 digits after the point."""
    return f"{amount:.8f}"


def milliseconds(time: datetime) -> int:
    """Write a time as Binance does by default (rest-api.md, "General API Information")."""
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


class Choose(Protocol):
    """Takes a decision of a simulation, such as ``random.Random(7).choice``."""

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of the options."""


class Simulation:
    """What the market offers, and what becomes of requests and reports, by choice.

    Attributes:
        exchange: Its ``offers`` are chosen: MARKET orders are filled in parts, or not, or some.
    """

    def __init__(self, exchange: Exchange, choose: Choose) -> None:
        """Begin with nothing in transit."""
        self.exchange, self.choose = exchange, choose
        self._in_transit: list[tuple[datetime, Callable[[], object]]] = []
        exchange.offers = self._offers

    def request(self, send: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Send a request, such as ``exchange.new_order``, and return the answer.

        It takes some of the exchange's time.

        Raises:
            ApiError: The answer is an error.
            ConnectionDropped: There is no answer. The request was lost, or only the answer was, or
                the request will arrive later, up to the end of its ``recvWindow``: until then an
                answer that an order is unknown is not final.
        """
        self.wait(timedelta(milliseconds=50))
        fate = self.choose([*["answered"] * 12, "request lost", "answer lost", "late"])
        if fate == "late":
            arrival = self.exchange.now + self.choose([RECV_WINDOW / 10, RECV_WINDOW])
            self._in_transit.append((arrival, partial(send, *args, **kwargs)))
        if fate in ("request lost", "late"):
            raise ConnectionDropped("no answer")
        answer = send(*args, **kwargs)
        if fate == "answer lost":
            raise ConnectionDropped("no answer")
        return answer

    def stream(self, client_order_id: str) -> Iterator[Payload]:
        """Return the reports about an order so far: some not, some twice, in any order.

        Raises:
            ConnectionDropped: The stream has ended, before or between the reports.
        """
        reports = [
            report
            for report in self.exchange.reports
            if client_order_id in (report["c"], report["C"])
            for _ in range(self.choose([0, 1, 1, 1, 2]))
        ]
        while reports:
            if self.choose([*[False] * 9, True]):
                raise ConnectionDropped("the stream has ended")
            yield reports.pop(self.choose(range(len(reports))))

    def wait(self, time: timedelta) -> None:
        """Advance the clock; requests that are in transit arrive."""
        end = self.exchange.now + time
        while arrived := [item for item in self._in_transit if item[0] <= end]:
            first = min(arrived, key=lambda item: item[0])
            self._in_transit.remove(first)
            self.exchange.now = max(self.exchange.now, first[0])
            with suppress(ApiError):
                first[1]()
        self.exchange.now = end

    def pass_time(self, time: timedelta) -> None:
        """Advance the clock, move the prices, and fill or end some of the orders in the book."""
        self.wait(time)
        for asset in ("BTC", "ETH"):
            self.exchange.prices[asset] *= Decimal(self.choose(range(960, 1041))) / 1000
        for order in [order for order in self.exchange.orders if order.is_open]:
            self.exchange.take_offers(order)
            if order.is_open and (
                status := self.choose([None, None, "EXPIRED", "EXPIRED_IN_MATCH"])
            ):
                self.exchange.end(order, status)

    def _offers(self, order: Order) -> Iterator[tuple[Decimal, Decimal]]:
        parts = self.choose([1, 1, 2, 3, 4])
        size = max(LOT, (order.quantity / parts).quantize(LOT, ROUND_DOWN))
        price = self.exchange.price(order.symbol)
        for number in range(1, 1 + self.choose([parts, parts, parts, parts - 1])):
            self.exchange.pays_in_bnb = self.choose([True, False])
            change = Decimal(self.choose(range(999, 1002))) / 1000
            yield (order.quantity if number == parts else size), (price * change).quantize(TICK)
