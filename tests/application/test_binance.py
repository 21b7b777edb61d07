"""What Binance says about an order, in any shape and any order, becomes the same trade.

The payloads have the shapes that "Binance Spot API Docs" publish.
"""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.exchange import milliseconds
from models import BotConfig, OrderType, Trade, queries
from models.binance import client_order_id, fees, trade_values
from tests.application.test_exchange import simulated
from tests.support import factories

Payload = dict[str, Any]
BOT = BotConfig(id=1, user_id=1, symbol="BTC/USDT")
TIME = datetime(2026, 11, 24, 8, 30, 0, 123_000, tzinfo=UTC)
MS = milliseconds(TIME)


def order(**changes: Any) -> Payload:
    """Write an answer to ``GET /api/v3/order``, or a row of ``allOrders``."""
    return {
        "symbol": "BTCUSDT",
        "orderId": 28,
        "orderListId": -1,
        "clientOrderId": "bot-1-entry",
        "price": "0.00000000",
        "origQty": "3.00000000",
        "executedQty": "3.00000000",
        "cummulativeQuoteQty": "303.00000000",
        "status": "FILLED",
        "timeInForce": "GTC",
        "type": "MARKET",
        "side": "BUY",
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": MS - 60_000,
        "updateTime": MS,
        "isWorking": True,
        "workingTime": MS - 60_000,
        "origQuoteOrderQty": "0.00000000",
        "selfTradePreventionMode": "NONE",
        **changes,
    }


def answer(fills: list[Payload], **changes: Any) -> Payload:
    """Write an answer to ``POST /api/v3/order``, response FULL."""
    left_out = ("stopPrice", "icebergQty", "time", "updateTime", "isWorking")
    stored = order(transactTime=MS, fills=fills, **changes)
    return {name: value for name, value in stored.items() if name not in left_out}


def fill(number: int, quantity: str, price: str, **changes: Any) -> Payload:
    return {
        "price": price,
        "qty": quantity,
        "commission": "0.00100000",
        "commissionAsset": "BTC",
        "tradeId": number,
        **changes,
    }


def trade(number: int, quantity: str, price: str, **changes: Any) -> Payload:
    """Write a row of ``myTrades``."""
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": 28,
        "orderListId": -1,
        "price": price,
        "qty": quantity,
        "quoteQty": str(Decimal(quantity) * Decimal(price)),
        "commission": "0.00100000",
        "commissionAsset": "BTC",
        "time": MS,
        "isBuyer": True,
        "isMaker": False,
        "isBestMatch": True,
        **changes,
    }


def report(**changes: Any) -> Payload:
    """Write an ``executionReport``: an order of 3 coins that is filled at once."""
    return {
        "e": "executionReport",
        "E": MS + 2,
        "s": "BTCUSDT",
        "c": "bot-1-entry",
        "S": "BUY",
        "o": "MARKET",
        "f": "GTC",
        "q": "3.00000000",
        "p": "0.00000000",
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": "",
        "x": "TRADE",
        "X": "FILLED",
        "r": "NONE",
        "i": 28,
        "l": "3.00000000",
        "z": "3.00000000",
        "L": "101.00000000",
        "n": "0.00300000",
        "N": "BTC",
        "T": MS,
        "t": 7,
        "I": 64,
        "w": False,
        "m": False,
        "M": True,
        "O": MS - 60_000,
        "Z": "303.00000000",
        "Y": "303.00000000",
        "Q": "0.00000000",
        "W": MS - 60_000,
        "V": "NONE",
        **changes,
    }


VALUES: Payload = {
    "bot_config_id": 1,
    "user_id": 1,
    "binance_order_id": "BTCUSDT:28",
    "symbol": "BTC/USDT",
    "side": "BUY",
    "order_type": "MARKET",
    "price": Decimal(101),
    "quantity_filled": Decimal(3),
    "quote_quantity_filled": Decimal(303),
    "timestamp": TIME,
}
FEE = {"commission_amount": Decimal("0.003"), "commission_asset": "BTC"}
FILLS = [
    fill(7, "1.00000000", "100.00000000"),
    fill(8, "2.00000000", "101.50000000", commission="0.00200000"),
]
TRADES = [
    trade(7, "1.00000000", "100.00000000"),
    trade(8, "2.00000000", "101.50000000", commission="0.00200000"),
]
FIRST = report(X="PARTIALLY_FILLED", l="1", z="1", L="100", n="0.001", Z="100", Y="100", w=True)
SECOND = report(l="2", L="101.5", n="0.002", Y="203", t=8, I=65)
NEW = report(x="NEW", X="NEW", l="0", z="0", L="0", n="0", N=None, t=-1, Z="0", Y="0", I=63)


# faqs/stp_faq.md: what was filled before the order expired remains.
PREVENTED = (
    SECOND
    | {"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH", "l": "0", "n": "0"}
    | {"N": None, "t": -1, "I": 67, "T": MS + 5, "q": "4.00000000"}
    | {"v": 3, "A": "1.00000000", "B": "1.00000000", "u": 1, "U": 37}
)
PREVENTED_ORDER = order(
    status="EXPIRED_IN_MATCH", preventedMatchId=3, preventedQuantity="1.00000000"
)
# faqs/sor_faq.md: allocations have the trade id -1, and are not in ``myTrades``.
SOR: Payload = {"usedSor": True, "workingFloor": "SOR"}
ALLOCATED = [
    row | {"tradeId": -1, "allocId": number, "matchType": "ONE_PARTY_TRADE_REPORT"}
    for number, row in enumerate(FILLS)
]
ALLOCATIONS: list[Payload] = [
    {name: value for name, value in row.items() if name not in ("id", "isBestMatch")}
    | {"allocationId": number, "allocationType": "SOR", "isAllocator": False}
    for number, row in enumerate(TRADES)
]
UNKNOWN = order(cummulativeQuoteQty="-1.00000000")  # rest-api.md, "All orders": some old ones


@pytest.mark.parametrize(
    "payloads",
    {
        "the answer to a new order": [answer(FILLS)],
        "a history": [order(), *TRADES],
        "a history, fills first": [*TRADES, order()],
        "reports": [NEW, FIRST, SECOND],
        "reports, late and repeated": [SECOND, NEW, FIRST, SECOND, FIRST],
        "ccxt": [{"info": order(), "filled": 3.0}, *({"info": row} for row in TRADES)],
        "WebSocket API": [{"subscriptionId": 0, "event": event} for event in (FIRST, SECOND)],
        "a poll, a report, and the answer": [order(), FIRST, answer(FILLS)],
        "a report is lost, and its fill is queried": [SECOND, TRADES[0]],
        "an older poll": [order(executedQty="1", cummulativeQuoteQty="100"), *TRADES],
        "self-trade prevention, reports": [FIRST, PREVENTED, SECOND],
        "self-trade prevention, history": [PREVENTED_ORDER, *TRADES],
        "smart order routing, answer": [answer(ALLOCATED, **SOR)],
        "smart order routing, reports": [FIRST | {"t": -1, "a": 0}, SECOND | {"t": -1, "a": 1}],
        "smart order routing, history": [order(**SOR), *ALLOCATIONS],
        "an allocation with the id of the other fill": [
            answer([ALLOCATED[0] | {"allocId": 8}, FILLS[1]], **SOR)
        ],
        "an unknown quote quantity": [UNKNOWN, *TRADES],
    }.items(),
    ids=lambda item: item[0],
)
def test_the_same_order_in_any_shape(payloads: tuple[str, list[Payload]]) -> None:
    assert trade_values(BOT, *payloads[1]) == VALUES | FEE


@pytest.mark.parametrize(
    "payloads",
    [
        [order()],
        [SECOND],
        [order(), TRADES[1]],
        [answer(FILLS[:1])],
        [answer([])],
        [UNKNOWN, order()],
        [NEW, SECOND, report(x="EXPIRED", X="EXPIRED", l="0", n="0", N=None, t=-1, I=66)],
    ],
)
def test_no_commission_is_stated_unless_all_fills_are_known(payloads: list[Payload]) -> None:
    elsewhere = VALUES | {"binance_order_id": "testnet-2026-11:BTCUSDT:28"}
    assert trade_values(BOT, *payloads, venue="testnet-2026-11") == elsewhere
    assert trade_values(BOT, *payloads) == VALUES
    assert fees(*payloads) is None


@pytest.mark.parametrize(
    "status", ["NEW", "PENDING_NEW", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"]
)
def test_nothing_filled_is_no_trade(status: str) -> None:
    nothing = {"executedQty": "0.00000000", "cummulativeQuoteQty": "0.00000000"}
    ack = {"symbol": "BTCUSDT", "orderId": 28, "clientOrderId": "bot-1-entry", "transactTime": MS}
    for payloads in (
        [order(status=status, **nothing)],
        [answer([], status=status, **nothing)],
        [NEW | {"X": status, "x": status}, NEW],
        [ack],  # states nothing about what is filled
    ):
        assert trade_values(BOT, *payloads) is None
    assert fees(NEW) == {}


@pytest.mark.parametrize("kind", [*OrderType, "TRAILING_STOP_LIMIT"])
@pytest.mark.parametrize("list_id", [-1, 1929])  # 1929: a leg of an OCO or OTO
def test_all_order_types(kind: str, list_id: int) -> None:
    """The price of a trade is what was paid, not the limit, and not 0."""
    changes: Payload = {"type": kind, "price": "110.00000000", "stopPrice": "99.00000000"}
    values = trade_values(BOT, order(orderListId=list_id, **changes), *TRADES)
    assert values == trade_values(BOT, report(o=kind, p="110", P="99", g=list_id))
    assert values == VALUES | FEE | {"order_type": kind}


@pytest.mark.parametrize(
    ("side", "symbol", "paid", "stated"),
    [
        ("SELL", "BNB/USDT", [("0.1", "BNB"), ("0.203", "USDT")], ("0.1", "BNB")),
        ("BUY", "BNBBTC", [("0.1", "BNB"), ("0.2", "BNB")], ("0.3", "BNB")),
        ("BUY", "BTC/USDT", [("0.001", "BTC"), ("0.002", "BTC")], ("0.003", "BTC")),
        ("BUY", "BTC/USDT", [("0.1", "BNB"), ("0.002", "BTC")], ("0.002", "BTC")),
        ("SELL", "BTC/USDT", [("0.1", "BNB"), ("0.203", "USDT")], ("0.203", "USDT")),
        ("SELL", "BTC/USDT", [("0.1", "BNB"), ("0.2", "BNB")], ("0.3", "BNB")),
        ("BUY", "BTC/USDT", [("0.1", "BNB"), ("0", "BTC")], ("0.1", "BNB")),
        ("BUY", "BTC/USDT", [("0", "BTC"), ("0", "BTC")], ("0", "BTC")),
        ("BUY", "BTC/USDT", [("0", None), ("0.002", "BTC")], ("0.002", "BTC")),
        ("SELL", "BTC/USDT", [("-0.01", "USDT"), ("-0.02", "USDT")], ("-0.03", "USDT")),
        ("BUY", "BTC/USDT", [("0", None), ("0", None)], None),
    ],
)
def test_fees_by_asset(
    side: str, symbol: str, paid: list[tuple[str, str | None]], stated: tuple[str, str] | None
) -> None:
    bot, of = BotConfig(id=1, user_id=1, symbol=symbol), {"symbol": symbol.replace("/", "")}
    payloads = [order(side=side, **of)]
    expected: dict[str, Decimal] = {}
    for row, (fee, asset) in zip(TRADES, paid, strict=True):
        payloads.append(row | of | {"commission": fee, "commissionAsset": asset})
        if asset and Decimal(fee):
            expected[asset] = expected.get(asset, Decimal(0)) + Decimal(fee)
    values: Any = trade_values(bot, *payloads)
    amount, asset = values.get("commission_amount"), values.get("commission_asset")
    assert (amount, asset) == ((Decimal(stated[0]), stated[1]) if stated else (None, None))
    by_asset: Any = fees(*payloads)
    assert {name: fee for name, fee in by_asset.items() if fee} == expected


LARGEST = "92233720368.54775807"  # 2⁶³ - 1, with 8 digits after the point


@pytest.mark.parametrize(
    ("symbol", "order_id", "quantity", "quote"),
    [
        ("币安人生/USDT", 28, "3", "303"),
        ("1000SATS/FDUSD", 28, "3", "303"),
        ("BTC/USDT", 2**63 - 1, "3", "303"),
        ("BTC/USDT", 28, "0.00000001", "0.00000001"),
        ("BTC/USDT", 28, "0.00000003", "0.00000001"),
        ("BTC/USDT", 28, LARGEST, LARGEST),
        ("BTC/USDT", 28, "0.00000001", LARGEST),
        ("BTC/USDT", 28, LARGEST, "0.00000001"),
    ],
)
async def test_extremes_are_recorded_exactly(
    session: AsyncSession, symbol: str, order_id: int, quantity: str, quote: str
) -> None:
    bot = await factories.add_bot(session, symbol)
    plain = symbol.replace("/", "")
    amounts: Payload = {"executedQty": quantity, "cummulativeQuoteQty": quote}
    values: Any = trade_values(bot, order(symbol=plain, orderId=order_id, **amounts))
    final = report(x="EXPIRED", s=plain, i=order_id, z=quantity, Z=quote)
    assert values == trade_values(bot, final)
    await queries.record_trades(session, [values], dust=Decimal(0))
    stored = (await session.scalars(select(Trade))).one()
    assert {name: getattr(stored, name) for name in VALUES} == values
    assert (values["quantity_filled"], values["quote_quantity_filled"]) == (
        Decimal(quantity),
        Decimal(quote),
    )
    assert abs(values["price"] * Decimal(quantity) - Decimal(quote)) < Decimal("1e-7")
    assert values["binance_order_id"] == f"{plain}:{order_id}"


EARLY = FIRST | {"T": MS - 5_000}
CANCELED = SECOND | {"x": "CANCELED", "X": "CANCELED", "C": "bot-1-entry", "T": MS + 60_000}


@pytest.mark.parametrize(
    ("payloads", "microseconds"),
    [
        *(
            ([payload], microseconds)
            for time, microseconds in ((MS, 0), (MS * 1000 + 456, 456), (str(MS), 0))
            for payload in (order(updateTime=time), report(T=time))
        ),
        ([answer([]) | {"transactTime": MS * 1000 + 456}], 456),
        ([NEW, EARLY, SECOND, CANCELED], -5_000_000),
        ([CANCELED, order(updateTime=MS + 9), EARLY], -5_000_000),
    ],
)
def test_the_time_is_that_of_the_first_fill(payloads: list[Payload], microseconds: int) -> None:
    """Not of the order, nor of its end; in milliseconds or microseconds, in any order."""
    values: Any = trade_values(BOT, *payloads)
    assert values["timestamp"] == TIME + timedelta(microseconds=microseconds)


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ([], "about one order, not 0"),
        ([order(), order(orderId=29)], "about one order, not 2"),
        ([order(), order(symbol="ETHUSDT")], "about one order, not 2"),
        ([order(symbol="ETHUSDT")], "ETHUSDT is not one of a bot for BTC/USDT"),
        ([order(), TRADES[0] | {"orderId": 29}], "about one order, not 2"),
        (TRADES, "pass the order too"),
        ([UNKNOWN], r"order 28 of BTCUSDT .* pass its fills"),
        ([UNKNOWN, TRADES[1]], r"order 28 of BTCUSDT .* pass its fills"),
        ([{"orderListId": 1, "orders": [], "orderReports": [order()]}], "no orderId"),
        ([{"e": "listStatus", "s": "BTCUSDT", "g": 2}], "no orderId"),
        ([{"code": -2013, "msg": "Order does not exist."}], "no orderId"),
        ([{"id": "28", "symbol": "BTC/USDT", "filled": 3.0}], "no orderId"),
        ([order(executedQty="x")], "executedQty is not a number"),
        ([order(executedQty="NaN")], "executedQty is not a number"),
        ([order(executedQty="Infinity")], "executedQty is not a number"),
        ([{k: v for k, v in order().items() if k != "side"}], "no 'side'"),
        ([{k: v for k, v in report().items() if k != "z"} | {"x": "TRADE"}], "no 'z'"),
    ],
)
def test_what_is_not_about_one_order_is_refused(payloads: list[Payload], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trade_values(BOT, *payloads)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        *((order, name) for name in ("executedQty", "cummulativeQuoteQty")),
        *((report, name) for name in "zZlYn"),
    ],
)
def test_floats_are_refused(write: Any, name: str) -> None:
    """0.3 would be stored as 0.299999999999999989."""
    assert trade_values(BOT, write(**{name: Decimal(write()[name])})) == trade_values(BOT, write())
    with pytest.raises(ValueError, match="is a float"):
        trade_values(BOT, write(**{name: float(write()[name])}))


def test_the_client_order_id_is_the_orders_own() -> None:
    """user-data-stream.md: ``c`` of a cancellation is its own id, ``C`` the order's."""
    canceled = {"c": "cancel-1", "C": "bot-1-entry", "x": "CANCELED"}
    answered = order(clientOrderId="cancel-1", origClientOrderId="bot-1-entry")
    for payload in (report(), report(C=None), report(**canceled), order(), answered):
        assert client_order_id(payload) == client_order_id({"info": payload}) == "bot-1-entry"


@pytest.mark.parametrize("seed", range(10))
def test_simulated_orders_become_what_the_books_say(seed: int) -> None:
    """All reports, and the history, state everything; some reports state no wrong commission."""
    exchange, chance = simulated(seed), random.Random(seed)  # noqa: S311
    polls = {poll["orderId"]: poll for poll in exchange.all_orders("BTCUSDT")}
    for stored in exchange.orders:
        reports = [row for row in exchange.reports if row["i"] == stored.id] * 2
        chance.shuffle(reports)
        trades = exchange.my_trades("BTCUSDT", stored.id)
        assert trade_values(BOT, *reports) == trade_values(BOT, polls[stored.id], *trades)
        assert fees(*reports) == stored.fees
        some = chance.sample(reports, chance.randint(1, len(reports)))
        filled = max(Decimal(row["z"]) for row in some)
        values = trade_values(BOT, *some)
        assert (values["quantity_filled"] if values else 0) == filled
        until_then = fees(*(row for row in reports if Decimal(row["z"]) <= filled))
        assert fees(*some) in (until_then, None)
