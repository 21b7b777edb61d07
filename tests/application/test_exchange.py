"""The simulated exchange behaves as Binance's documents say, so that it can judge the operations.

Each test names the page of "Binance Spot API Docs" that states the rule.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from examples.exchange import (
    BALANCES,
    RECV_WINDOW,
    ApiError,
    ConnectionDropped,
    Exchange,
    Order,
    Simulation,
)

BTCUSDT = "BTCUSDT"
PRICE = Decimal(96_000)
ENDS = ("FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH")


@pytest.fixture(name="exchange")
def _exchange() -> Exchange:
    return Exchange(datetime(2026, 11, 24, tzinfo=UTC))


def rest(exchange: Exchange, client_order_id: str, side: str = "BUY", quantity: int = 4) -> Order:
    """Place an order that waits in the book."""
    exchange.new_order(
        BTCUSDT, side, Decimal(quantity), client_order_id, type="LIMIT", price=PRICE
    )
    return exchange.orders[-1]


def end(exchange: Exchange, order: Order, status: str) -> None:
    if status == "FILLED":
        exchange.fill(order, order.quantity - order.executed, PRICE)
    elif status == "CANCELED":
        exchange.cancel_order(order.symbol, order.client_order_id)
    else:
        exchange.end(order, status)


def refused(code: int, reason: str = "") -> Any:
    return pytest.raises(ApiError, match=f"{code}.*{reason}")


@pytest.mark.parametrize("status", ENDS)
def test_a_client_order_id_is_unique_among_open_orders_only(
    exchange: Exchange, status: str
) -> None:
    """rest-api.md, "New order", newClientOrderId."""
    first = rest(exchange, "bot-1")
    for quantity in (1, 2):
        with refused(-2010, "Duplicate"):
            rest(exchange, "bot-1")
        exchange.fill(first, Decimal(quantity), PRICE)
    end(exchange, first, status)
    second = rest(exchange, "bot-1")
    assert exchange.query_order(BTCUSDT, "bot-1")["orderId"] == second.id != first.id


def test_orders_are_those_of_a_symbol(exchange: Exchange) -> None:
    """errors.md, -2013 and -2011; orders are numbered and looked up within their symbol."""
    order = rest(exchange, "bot-1")
    for symbol, name in ((BTCUSDT, "bot-2"), ("ETHBTC", "bot-1")):
        with refused(-2013):
            exchange.query_order(symbol, name)
    end(exchange, order, "FILLED")
    with refused(-2011):
        exchange.cancel_order(BTCUSDT, "bot-1")
    exchange.new_order("ETHBTC", "BUY", Decimal(1), "bot-1")
    assert [order["orderId"] for order in exchange.all_orders("ETHBTC")] == [order.id]


@pytest.mark.parametrize(
    ("offered", "status"),
    [((11,), "FILLED"), ((6, 4), "EXPIRED"), ((), "EXPIRED"), ((6, 4, 9), "FILLED")],
)
def test_the_rest_of_a_market_order_expires(
    exchange: Exchange, offered: Sequence[int], status: str
) -> None:
    """faqs/market_orders_faq.md."""
    exchange.balances["BTC"] = Decimal(11)
    exchange.offers = lambda _: [(Decimal(quantity), PRICE) for quantity in offered]
    answer = exchange.new_order(BTCUSDT, "SELL", Decimal(11), "bot-1")
    assert answer["status"] == status
    executions = [report["x"] for report in exchange.reports]
    expired = ["EXPIRED"] * (status == "EXPIRED")
    assert executions == ["NEW", *["TRADE"] * len(offered), *expired]
    executed = min(sum(offered), 11)
    fills = sum(Decimal(fill["qty"]) for fill in answer["fills"])
    assert Decimal(answer["executedQty"]) == fills == executed
    assert Decimal(exchange.reports[-1]["z"]) == -exchange.held("bot-1") == executed


@pytest.mark.parametrize(
    ("quantity", "client_order_id", "code"),
    [
        *((quantity, "bot-1", -1013) for quantity in ("0.000009", "0.000011", "0")),
        *(("1", client_order_id, -1100) for client_order_id in ("", "bot/1", "a" * 37)),
    ],
)
def test_lot_size_and_characters(
    exchange: Exchange, quantity: str, client_order_id: str, code: int
) -> None:
    """filters.md, LOT_SIZE; fix-api.md, "Client order ID fields"."""
    with refused(code):
        exchange.new_order(BTCUSDT, "BUY", Decimal(quantity), client_order_id)
    assert (exchange.orders, exchange.reports) == ([], [])


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_an_order_without_the_balance_is_rejected(exchange: Exchange, side: str) -> None:
    """errors.md, -2010; user-data-stream.md, "Order Reject Reason". An open order locks some."""
    rest(exchange, "bot-1", side)
    with refused(-2010, "insufficient balance"):
        rest(exchange, "bot-2", side, 7)
    rejected = exchange.reports[-1]
    assert [rejected[name] for name in "xXr"] == ["REJECTED"] * 2 + ["INSUFFICIENT_BALANCES"]
    with refused(-2013):
        exchange.query_order(BTCUSDT, "bot-2")
    assert rest(exchange, "bot-3", side).id > rejected["i"]
    assert exchange.balances == BALANCES


@pytest.mark.parametrize(
    ("side", "in_bnb", "bnb", "rate", "asset", "fees"),
    [
        ("BUY", False, "10", "0.001", "BTC", ["0.001", "0.003"]),
        ("SELL", False, "10", "0.001", "USDT", ["96", "288"]),
        ("BUY", True, "10", "0.001", "BNB", ["0.1125", "0.3375"]),
        ("SELL", True, "10", "0.001", "BNB", ["0.1125", "0.3375"]),
        ("SELL", True, "0.1", "0.001", "USDT", ["96", "288"]),
        ("SELL", False, "10", "-0.0001", "USDT", ["-9.6", "-28.8"]),
    ],
)
def test_each_fill_has_its_own_commission(
    exchange: Exchange, side: str, in_bnb: bool, bnb: str, rate: str, asset: str, fees: list[str]
) -> None:
    """faqs/commission_faq.md; the commission of a report is that of its fill alone."""
    exchange.balances["BNB"] = Decimal(bnb)
    exchange.pays_in_bnb, exchange.commission_rate = in_bnb, Decimal(rate)
    before = dict(exchange.balances)
    order = rest(exchange, "bot-1", side)
    exchange.fill(order, Decimal(1), PRICE)
    exchange.fill(order, Decimal(3), PRICE)
    expected = [(Decimal(fee), asset) for fee in fees]
    stated = [(Decimal(r["n"]), r["N"]) for r in exchange.reports if r["x"] == "TRADE"]
    trades = exchange.my_trades(BTCUSDT, order.id)
    charged = [(Decimal(trade["commission"]), trade["commissionAsset"]) for trade in trades]
    assert stated == charged == expected
    assert [report["z"] for report in exchange.reports[1:]] == ["1.00000000", "4.00000000"]
    coins = 4 if side == "BUY" else -4
    change = {"BTC": Decimal(coins), "USDT": -coins * PRICE}
    change[asset] = change.get(asset, Decimal(0)) - sum(fee for fee, _ in expected)
    assert exchange.balances == before | {name: before[name] + change[name] for name in change}
    assert exchange.held("bot-1") == change["BTC"]


@pytest.mark.parametrize("status", ENDS[1:])
def test_what_is_filled_of_an_order_that_ends_remains(exchange: Exchange, status: str) -> None:
    """rest-api.md, "Cancel order"; user-data-stream.md, ``c`` and ``C``; faqs/stp_faq.md."""
    order = rest(exchange, "bot-1", "SELL")
    exchange.fill(order, Decimal("0.3"), PRICE)
    end(exchange, order, status)
    answer, report = exchange.query_order(BTCUSDT, "bot-1"), exchange.reports[-1]
    assert (answer["status"], answer["executedQty"]) == (status, "0.30000000")
    execution = "TRADE_PREVENTION" if status == "EXPIRED_IN_MATCH" else status
    names = ("cancel-bot-1", "bot-1") if status == "CANCELED" else ("bot-1", "")
    assert [report[name] for name in "xXzcC"] == [execution, status, "0.30000000", *names]
    assert exchange.held("bot-1") == Decimal("-0.3")


ORDER = (
    "symbol orderId orderListId clientOrderId price origQty executedQty status type side"
    " origQuoteOrderQty cummulativeQuoteQty timeInForce selfTradePreventionMode"
)
SHAPES = {
    "new order": f"{ORDER} transactTime workingTime fills",
    "fill": "price qty commission commissionAsset tradeId",
    "cancel order": f"{ORDER} transactTime origClientOrderId",
    "query order": f"{ORDER} stopPrice icebergQty time updateTime isWorking workingTime",
    "trade": "symbol id orderId orderListId price qty quoteQty commission commissionAsset time"
    " isBuyer isMaker isBestMatch",
}


def test_the_shapes_are_the_published_ones(exchange: Exchange) -> None:
    """rest-api.md and user-data-stream.md, the responses of each endpoint, and its payload."""
    filled = exchange.new_order(BTCUSDT, "BUY", Decimal(1), "bot-1")
    rest(exchange, "bot-2")
    canceled = exchange.cancel_order(BTCUSDT, "bot-2")
    assert canceled["origClientOrderId"] == "bot-2" != canceled["clientOrderId"]
    shapes = {
        "new order": filled,
        "fill": filled["fills"][0],
        "cancel order": canceled,
        "query order": exchange.query_order(BTCUSDT, "bot-1"),
        "trade": exchange.my_trades(BTCUSDT)[0],
    }
    for name, names in SHAPES.items():
        assert set(shapes[name]) == set(names.split()), name
    report = frozenset("eEscSofqpPFgCxXrilzLnNTtIwmMOZYQWV")
    assert {frozenset(sent) for sent in exchange.reports} == {report}


@pytest.mark.parametrize(
    ("fate", "at_once", "in_time"),
    [
        ("request lost", False, False),
        ("answer lost", True, True),
        ("late", False, True),
    ],
)
def test_no_answer_may_mean_anything_until_recv_window_has_passed(
    exchange: Exchange, fate: str, at_once: bool, in_time: bool
) -> None:
    """rest-api.md, "Timing security" and "HTTP Return Codes": the status is unknown."""

    def choose(options: Sequence[Any], /) -> Any:
        """Decide on this fate, and on the latest arrival."""
        return next((option for option in options if option == fate), options[-1])

    simulation = Simulation(exchange, choose)
    with pytest.raises(ConnectionDropped):
        simulation.request(exchange.new_order, BTCUSDT, "BUY", Decimal(1), "bot-1")
    assert bool(exchange.orders) == at_once
    milli = timedelta(milliseconds=1)
    for time, arrived in (
        (RECV_WINDOW - milli, at_once),
        (milli, in_time),
        (RECV_WINDOW, in_time),
    ):
        simulation.wait(time)
        assert len(exchange.orders) == arrived


def simulated(seed: int) -> Exchange:
    exchange = Exchange(datetime(2026, 11, 24, tzinfo=UTC))
    simulation = Simulation(exchange, random.Random(seed).choice)  # noqa: S311
    for number in range(30):
        kind: dict[str, Any] = simulation.choose([{}, {"type": "LIMIT", "price": PRICE}])
        order = (BTCUSDT, simulation.choose(["BUY", "SELL"]), Decimal("0.05208"))
        name = f"bot-{number % 2}-{number}"
        with suppress(ApiError, ConnectionDropped):
            simulation.request(exchange.new_order, *order, name, **kind)
            list(simulation.stream(name))
        simulation.pass_time(timedelta(hours=3))
    return exchange


def test_a_seed_determines_a_run_whose_books_are_right() -> None:
    ends: set[tuple[str, bool]] = set()
    for seed in range(20):
        exchange, again = simulated(seed), simulated(seed)
        assert (exchange.orders, exchange.reports) == (again.orders, again.reports)
        held = exchange.held("bot-0-") + exchange.held("bot-1-")
        assert held == exchange.balances["BTC"] - BALANCES["BTC"]
        ends |= {(order.status, bool(order.fills)) for order in exchange.orders}
    unfilled_or_not = {(end, is_filled) for end in ENDS[2:] for is_filled in (True, False)}
    assert ends >= {("FILLED", True), *unfilled_or_not}
