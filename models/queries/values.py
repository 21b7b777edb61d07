"""Refuses values that the database would refuse, or would store as something else."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from models.enums import Side
from models.order_key import joined, market, order_key
from models.trade import Trade, TradeValues

TRADE_COLUMNS = TradeValues.__annotations__.keys()
_ORDER_TYPE = re.compile("[A-Z][A-Z0-9_]*", re.ASCII)
_MAXIMUM, _UNIT = Decimal(10) ** 20, Decimal("1e-18")  # of numeric(38, 18)
_MAXIMUM_ID = 2**31 - 1


def trade_row(values: TradeValues) -> dict[str, Any]:
    """Return the columns of a trade, with one spelling of its symbol and key.

    Raises:
        ValueError: A name is unknown or missing, or its value is not one of the column.
    """
    given: Mapping[str, Any] = values
    if unknown := given.keys() - TRADE_COLUMNS:
        raise ValueError(f"unknown names: {', '.join(sorted(map(str, unknown)))}")
    if missing := TradeValues.__required_keys__ - given.keys():
        raise ValueError(f"missing: {', '.join(sorted(missing))}")
    row: dict[str, Any] = {**dict.fromkeys(TRADE_COLUMNS), **given}
    for name, check in _CHECKS.items():
        if row[name] is not None or name in TradeValues.__required_keys__:
            row[name] = check(name, row[name])
    if row["quantity_filled"] < _UNIT:
        raise ValueError("quantity_filled is 0: an order of which nothing is filled is no trade")
    if row["commission_amount"] is None:
        row["commission_asset"] = None
    elif row["commission_asset"] is None:
        raise ValueError("commission_amount needs its commission_asset")
    if row["binance_order_id"] is not None:
        row["binance_order_id"] = _key(row["binance_order_id"], row["symbol"])
    return row


def exact(name: str, amount: Any) -> Decimal:
    """Return an amount; refuse a float, which is rarely the number that the exchange sent."""
    if not isinstance(amount, Decimal | int) or isinstance(amount, bool):
        raise ValueError(f"{name} is of type {type(amount).__name__}, not Decimal")
    number = Decimal(amount)
    if not (number.is_finite() and abs(number) < _MAXIMUM):
        raise ValueError(f"{name} is out of range")
    return number


def _not_negative(name: str, amount: Any) -> Decimal:
    number = exact(name, amount)
    if number < 0:
        raise ValueError(f"{name} is negative")
    return number


def _id(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAXIMUM_ID:
        raise ValueError(f"{name} is not an id")
    return value


def _text(name: str, value: Any) -> str:
    longest = getattr(Trade.__table__.c[name].type, "length", None)
    if not isinstance(value, str) or not value.strip("\0") or len(value) > (longest or 0):
        raise ValueError(f"{name} is not a text of 1 to {longest} characters")
    if "\0" in value:
        raise ValueError(f"{name} contains a NUL")
    return value


def _side(name: str, value: Any) -> str:
    if value not in list(Side):
        raise ValueError(f"{name} is not BUY or SELL")
    return str(value)


def _order_type(name: str, value: Any) -> str:
    if not _ORDER_TYPE.fullmatch(_text(name, value)):
        raise ValueError(f"{name} is not a word in upper case, such as STOP_LOSS")
    return str(value)


def _time(name: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValueError(f"{name} is not a datetime with a time zone")
    return value


def _key(key: Any, symbol: str) -> str:
    parts = key.split(":") if isinstance(key, str) else []
    if not 2 <= len(parts) <= 3:
        raise ValueError("binance_order_id is not made by order_key()")
    *venue, of_key, order_id = parts
    if joined(of_key) != joined(symbol):
        raise ValueError("binance_order_id is that of an order for another symbol")
    return order_key(symbol, order_id, *venue)


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "bot_config_id": _id,
    "user_id": _id,
    "symbol": lambda name, value: market(_text(name, value)),
    "side": _side,
    "order_type": _order_type,
    "price": _not_negative,
    "quantity_filled": _not_negative,
    "quote_quantity_filled": _not_negative,
    "timestamp": _time,
    "commission_amount": exact,
    "commission_asset": _text,
    "pnl": exact,
}
