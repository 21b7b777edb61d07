"""Orders that client libraries have parsed become the same trades as Binance's own payloads.

The libraries run as they are, offline: their HTTP sessions end at the simulated exchange.
``tox -e clients`` installs them.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from examples.exchange import Exchange
from models import BotConfig
from models.binance import client_order_id, trade_values
from tests.application.test_exchange import BTCUSDT, simulated

requests: Any = pytest.importorskip("requests", reason="runs in tox -e clients")
BOT = BotConfig(id=1, user_id=1, symbol="BTC/USDT")
ENTRY, EXIT = "bot-1-entry", "bot-1-exit"


class Adapter:
    """Lets a session of requests talk to a simulated exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def close(self) -> None:
        pass

    def send(self, request: Any, **_: Any) -> Any:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        parameters = dict(parse_qsl(urlsplit(request.url).query) + parse_qsl(body))
        answer = self.answer(request.method, urlsplit(request.url).path, parameters)
        response._content = json.dumps(answer).encode()
        return response

    def answer(self, method: str, path: str, parameters: dict[str, str]) -> Any:
        symbol = parameters["symbol"]
        match method, path.removeprefix("/api/v3/"):
            case "POST", "order":
                return self.exchange.new_order(
                    symbol,
                    parameters["side"],
                    Decimal(parameters["quantity"]),
                    parameters["newClientOrderId"],
                    type=parameters["type"],
                    price=Decimal(parameters.get("price", 0)),
                )
            case "GET", "order":
                return self.exchange.query_order(symbol, parameters["origClientOrderId"])
            case "DELETE", "order":
                return self.exchange.cancel_order(symbol, parameters["origClientOrderId"])
            case "GET", "allOrders":
                return self.exchange.all_orders(symbol)
            case "GET", "myTrades":
                return self.exchange.my_trades(symbol)
        raise AssertionError((method, path))


def ccxt_client(exchange: Exchange) -> SimpleNamespace:
    library: Any = pytest.importorskip("ccxt").binance({"apiKey": "key", "secret": "secret"})
    library.session.mount("https://", Adapter(exchange))
    symbol = "BTC/USDT"
    market = {
        "id": BTCUSDT,
        "symbol": symbol,
        "type": "spot",
        "spot": True,
        "base": "BTC",
        "quote": "USDT",
        "baseId": "BTC",
        "quoteId": "USDT",
        "precision": {"amount": 1e-5, "price": 1e-2},
        "info": {"orderTypes": ["MARKET", "LIMIT"]},
    }
    library.set_markets([library.safe_market_structure(market)])
    return SimpleNamespace(
        buy=lambda name: library.create_order(
            symbol, "market", "buy", 0.3, None, {"newClientOrderId": name}
        ),
        sell_at=lambda name, price: library.create_order(
            symbol, "limit", "sell", 0.3, price, {"newClientOrderId": name}
        ),
        order=lambda name: library.fetch_order(None, symbol, {"clientOrderId": name}),
        cancel=lambda name: library.cancel_order(None, symbol, {"clientOrderId": name}),
        orders=lambda: library.fetch_orders(symbol),
        trades=lambda: library.fetch_my_trades(symbol),
    )


def python_binance(exchange: Exchange) -> SimpleNamespace:
    library: Any = pytest.importorskip("binance").Client("key", "secret", ping=False)
    library.session.mount("https://", Adapter(exchange))
    return SimpleNamespace(
        buy=lambda name: library.order_market_buy(
            symbol=BTCUSDT, quantity="0.3", newClientOrderId=name
        ),
        sell_at=lambda name, price: library.order_limit_sell(
            symbol=BTCUSDT, quantity="0.3", price=price, newClientOrderId=name
        ),
        order=lambda name: library.get_order(symbol=BTCUSDT, origClientOrderId=name),
        cancel=lambda name: library.cancel_order(symbol=BTCUSDT, origClientOrderId=name),
        orders=lambda: library.get_all_orders(symbol=BTCUSDT),
        trades=lambda: library.get_my_trades(symbol=BTCUSDT),
    )


@pytest.mark.parametrize("make_client", [ccxt_client, python_binance])
def test_a_client_library_changes_nothing(
    make_client: Callable[[Exchange], SimpleNamespace],
) -> None:
    exchange = Exchange(datetime(2026, 11, 24, tzinfo=UTC), first_order_id=2**62)
    offers = [(Decimal("0.1"), Decimal("96000.01")), (Decimal("0.2"), Decimal("96000.02"))]
    exchange.offers = lambda _: offers
    client = make_client(exchange)

    answer = client.buy(ENTRY)
    entry: Any = trade_values(BOT, *exchange.reports)
    assert entry["commission_amount"] == Decimal("0.0003")
    assert trade_values(BOT, answer) == entry

    assert trade_values(BOT, client.sell_at(EXIT, 97_000)) is None
    exchange.fill(exchange.orders[-1], Decimal("0.00001"), Decimal(97_000))
    partial, canceled = client.order(EXIT), client.cancel(EXIT)
    assert client_order_id(canceled) == client_order_id(partial) == EXIT
    reports = [report for report in exchange.reports if report["i"] == 2**62 + 1]
    exited: Any = trade_values(BOT, *reports)

    for values, order in zip((entry, exited), client.orders(), strict=True):
        _, _, order_id = str(values["binance_order_id"]).partition(":")
        # ccxt keeps Binance's row in "info".
        fills = [
            row for row in client.trades() if row.get("info", row)["orderId"] == int(order_id)
        ]
        assert trade_values(BOT, order, *fills) == values
    without_fee = {name: value for name, value in exited.items() if "commission" not in name}
    assert trade_values(BOT, partial, canceled) == without_fee


@pytest.mark.parametrize("seed", range(3))
def test_orders_that_ccxt_has_parsed_from_the_stream(seed: int) -> None:
    library: Any = pytest.importorskip("ccxt.pro").binance()
    exchange = simulated(seed)
    for order in exchange.orders:
        reports = [report for report in exchange.reports if report["i"] == order.id]
        parsed = [library.parse_ws_order(report) for report in reports]
        assert trade_values(BOT, *parsed) == trade_values(BOT, *reports)
