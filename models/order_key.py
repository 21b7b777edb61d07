"""The key of an order, ``trades.binance_order_id``: one for every spelling of the same order."""

import re

_MARKET = re.compile(r"([^\W_]+)(?:[/_-]([^\W_]+))?")
_ORDER_ID = re.compile(r"[1-9][0-9]*", re.ASCII)
_VENUE = re.compile(r"[a-z][a-z0-9.-]*", re.ASCII)
_SEPARATORS = {ord(separator): None for separator in "/_-"}
LENGTH = 64


def market(symbol: str) -> str:
    """Return a symbol of the spot market in upper case, ``BTC/USDT`` or, if unseparated, BTCUSDT.

    Raises:
        ValueError: It is none. ccxt's ``BTC/USDT:USDT`` is a contract, for example.
    """
    match = _MARKET.fullmatch(symbol.strip()) if isinstance(symbol, str) else None
    if match is None:
        raise ValueError("not a symbol of the spot market, such as BTC/USDT or BTCUSDT")
    return "/".join(filter(None, match.groups())).upper()


def joined(symbol: str) -> str:
    """Return a symbol as Binance writes it: BTCUSDT."""
    return symbol.translate(_SEPARATORS).strip().upper()


def order_key(symbol: str, order_id: int | str, venue: str | None = None) -> str:
    """Return the value of ``trades.binance_order_id``: ``BTCUSDT:28`` for ``BTC/USDT`` and 28.

    Binance numbers orders within a symbol, so an order id alone does not identify an order.

    Args:
        symbol: As :func:`market` accepts it.
        order_id: Binance's ``orderId``, not the client order id.
        venue: Of orders that are not from binance.com, a name in lower case that the application
            chooses: Binance TR and Binance.US number their orders on their own, and the testnet
            begins anew about once a month ("Spot Test Network", general information), so
            ``testnet-2026-11`` makes ``testnet-2026-11:BTCUSDT:28``.

    Raises:
        ValueError: A part is not what its name says; or the key is too long for the column.
    """
    is_integer = isinstance(order_id, int) and not isinstance(order_id, bool)
    if not (is_integer or isinstance(order_id, str)) or not _ORDER_ID.fullmatch(str(order_id)):
        raise ValueError("not an order id of Binance, which is a positive integer")
    if venue is not None and not _VENUE.fullmatch(venue):
        raise ValueError("not a venue's name in lower case, such as testnet-2026-11")
    key = ":".join(filter(None, (venue, joined(market(symbol)), str(order_id))))
    if len(key) > LENGTH:
        raise ValueError(f"an order key has at most {LENGTH} characters")
    return key
