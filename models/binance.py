"""From what Binance says about an order to the values of a trade.

Binance states an order in several shapes, all with cumulative amounts: ``executionReport`` of the
user data stream, the answers to ``POST``, ``GET`` and ``DELETE /api/v3/order``, and the rows of
``allOrders``. It states fills, which it calls trades, in ``fills`` of an answer, in the reports,
and as rows of ``myTrades`` and ``myAllocations``. The functions accept all of them as they are.
Source: "Binance Spot API Docs", rest-api.md and user-data-stream.md.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, NamedTuple

from models.bot_config import BotConfig
from models.order_key import joined, order_key
from models.trade import TradeValues

Payload = Mapping[str, Any]

# Case matters: `i` is the order and `I` the event, `T` is the event's time and `O` the order's.
_REPORT = {
    "symbol": "s",
    "orderId": "i",
    "side": "S",
    "type": "o",
    "executedQty": "z",
    "cummulativeQuoteQty": "Z",
    "transactTime": "T",
}
_REPORTED_FILL = {
    "tradeId": "t",
    "qty": "l",
    "quoteQty": "Y",
    "commission": "n",
    "commissionAsset": "N",
    "time": "T",
}
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_DIGITS = Decimal("1e-18")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Order(NamedTuple):
    """What is known of an order, for the largest quantity that is stated.

    Attributes:
        fees: None: not all fills are known.
    """

    symbol: str
    id: int | str
    side: str
    type: str
    quantity: Decimal
    quote_quantity: Decimal
    fees: dict[str, Decimal] | None
    time: datetime


def trade_values(
    bot: BotConfig, *payloads: Payload, venue: str | None = None
) -> TradeValues | None:
    """Return the values of a bot's trade from what Binance says about its order.

    Args:
        bot: Whose order it is; its symbol, with a slash, is used.
        payloads: About one order, at least one that is not a fill, in any order, also repeated.
            Pass all that are known, such as the reports that have come so far, or an order of
            ``allOrders`` and its ``myTrades``: a report states the commission of one fill only,
            and ``GET /api/v3/order`` none. An order of ccxt may be passed too: its raw ``info`` is
            read, since its own amounts are floats. Of an order list, pass one of ``orderReports``.
        venue: As for :func:`~models.order_key.order_key`.

    Returns:
        The values for :func:`~models.queries.record_trade`, without ``pnl``. None if nothing is
        filled, or nothing is stated about it, as in a response ``ACK``.

        - ``price`` is the average of all fills: Binance states 0, or the limit.
        - ``commission_amount`` is stated only if the fills are known that make up the whole
          quantity; the sum of some would be too small. If it is paid in two assets, as when BNB
          runs out, it is the part in the coin itself, which the bot no longer holds, else that in
          quote currency; :func:`fees` returns both.
        - ``timestamp`` is the time of the first fill, if that is known, else of the first
          statement that something is filled, which is never earlier.

    Raises:
        ValueError: A payload is not about an order, the payloads are about several orders or
            another symbol, or an amount is a float. Or the quote quantity is negative, which
            means unknown, as for some old orders: pass the fills too (rest-api.md, "All orders").
    """
    order = _read(payloads)
    if order is None:
        return None
    if order.symbol != joined(bot.symbol):
        raise ValueError(f"an order of {order.symbol} is not one of a bot for {bot.symbol}")
    price = _EXACT.divide(order.quote_quantity, order.quantity)
    values = TradeValues(
        bot_config_id=bot.id,
        user_id=bot.user_id,
        binance_order_id=order_key(order.symbol, order.id, venue),
        symbol=bot.symbol,
        side=order.side,
        order_type=order.type,
        price=price.quantize(_DIGITS, context=_EXACT),
        quantity_filled=order.quantity,
        quote_quantity_filled=order.quote_quantity,
        timestamp=order.time,
    )
    if order.fees:
        # BTCUSDT begins with the coin, and ends with the quote currency.
        of = order.symbol
        asset = max(order.fees, key=lambda name: (of.startswith(name), of.endswith(name), name))
        values["commission_amount"], values["commission_asset"] = order.fees[asset], asset
    return values


def fees(*payloads: Payload) -> dict[str, Decimal] | None:
    """Return an order's commission by asset; None if it is not known for the whole quantity.

    Args:
        payloads: As for :func:`trade_values`.

    Raises:
        ValueError: As by :func:`trade_values`.
    """
    order = _read(payloads)
    return {} if order is None else order.fees


def client_order_id(payload: Payload) -> str:
    """Return the client order id that an order was sent with.

    A report or an answer about a cancellation has that of the cancellation in its place, and the
    order's in ``C`` or ``origClientOrderId`` (user-data-stream.md, "Order Update").
    """
    raw = _raw(payload)
    first, second = ("C", "c") if "e" in raw else ("origClientOrderId", "clientOrderId")
    return str(raw.get(first) or raw[second])


def _raw(payload: Payload) -> Payload:
    """Unwrap what ccxt or the WebSocket API have put around a payload."""
    raw: Payload = payload.get("info") or payload.get("event") or payload
    return raw


def _read(payloads: Sequence[Payload]) -> _Order | None:
    try:
        return _merge(*_collect(payloads))
    except KeyError as error:
        raise ValueError(f"a payload about an order has no {error}") from None


def _collect(payloads: Sequence[Payload]) -> tuple[Sequence[Payload], Sequence[Payload]]:
    """Return what payloads state about one order, and about its fills, with the same names."""
    orders: list[Payload] = []
    fills: dict[tuple[bool, str], Payload] = {}
    ids = set()
    for payload in map(_raw, payloads):
        order, new_fills = payload, payload.get("fills", ())
        if payload.get("e") == "executionReport":
            order = {name: payload[key] for name, key in _REPORT.items()}
            if payload["x"] == "TRADE":
                fill = {name: payload[key] for name, key in _REPORTED_FILL.items()}
                new_fills = [fill | {"allocId": payload.get("a")}]
        elif "orderId" not in payload:
            raise ValueError("a payload is not about one order: it has no orderId")
        elif "qty" in payload:
            new_fills = [payload]
        ids.add((order["symbol"], str(order["orderId"])))
        if "executedQty" in order:
            orders.append(order)
        for fill in new_fills:
            fills[_fill_id(fill)] = fill
    if len(ids) != 1:
        raise ValueError(f"expected payloads about one order, not {len(ids)}")
    return orders, list(fills.values())


def _fill_id(fill: Payload) -> tuple[bool, str]:
    """Return whether a fill is an allocation of smart order routing, and its id.

    Such a fill has the trade id -1 (faqs/sor_faq.md).
    """
    allocation = fill.get("allocId", fill.get("allocationId"))
    trade = fill.get("tradeId", fill.get("id"))
    return (allocation is not None, str(trade if allocation is None else allocation))


def _merge(orders: Sequence[Payload], fills: Sequence[Payload]) -> _Order | None:
    if fills and not orders:
        raise ValueError("fills do not state the type of their order: pass the order too")
    stated = max((_amount(order, "executedQty") for order in orders), default=Decimal(0))
    summed = sum((_amount(fill, "qty") for fill in fills), Decimal(0))
    quantity = max(stated, summed)
    if not quantity:
        return None
    facts = next(order for order in orders if _amount(order, "executedQty") == stated)
    quotes = [
        quote
        for order in orders
        if _amount(order, "executedQty") == quantity
        and (quote := _amount(order, "cummulativeQuoteQty")) >= 0
    ]
    all_fills_are_known = summed == quantity
    if all_fills_are_known:
        quotes.append(sum((_quote_quantity(fill) for fill in fills), Decimal(0)))
    if not quotes:
        raise ValueError(
            f"the quote quantity of order {facts['orderId']} of {facts['symbol']} is not known;"
            " pass its fills (GET /api/v3/myTrades) too"
        )
    times = [_time(fill["time"]) for fill in fills if "time" in fill]
    times += [
        _time(order.get("transactTime") or order["updateTime"])
        for order in orders
        if _amount(order, "executedQty")
    ]
    return _Order(
        facts["symbol"],
        facts["orderId"],
        facts["side"],
        facts["type"],
        quantity,
        quotes[0],
        _fees(fills) if all_fills_are_known else None,
        min(times),
    )


def _fees(fills: Sequence[Payload]) -> dict[str, Decimal]:
    """Add up the commission by asset; without those that are 0, if there are others."""
    fees: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        if (asset := fill["commissionAsset"]) is not None:
            fees[asset] += _amount(fill, "commission")
    return {asset: fee for asset, fee in fees.items() if fee} or dict(fees)


def _quote_quantity(fill: Payload) -> Decimal:
    if "quoteQty" in fill:
        return _amount(fill, "quoteQty")
    return _EXACT.multiply(_amount(fill, "price"), _amount(fill, "qty"))


def _amount(payload: Payload, name: str) -> Decimal:
    amount = payload[name]
    if not isinstance(amount, str | Decimal):
        raise ValueError(f"{name} is a {type(amount).__name__}: pass the text that Binance sends")
    with suppress(InvalidOperation):
        if (exact := _EXACT.create_decimal(amount)).is_finite():
            return exact
    raise ValueError(f"{name} is not a number")


def _time(stated: int | str) -> datetime:
    """Read a time in milliseconds, or in microseconds (rest-api.md, "General API Information")."""
    time = int(stated)
    return _EPOCH + timedelta(microseconds=time if time >= 10**14 else time * 1000)
