"""The hot queries of :mod:`models.queries`, for a busy and an ordinary bot and user."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import BindParameter, ClauseElement
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.visitors import cloned_traverse

from models import queries
from models.order_key import joined, order_key
from models.queries import positions, scheduling
from models.queries.trades import RECORD, STORED
from models.queries.values import TRADE_COLUMNS
from tests.support.data import Dataset


def bound(statement: Executable, values: Mapping[str, Any]) -> Executable:
    """Return a statement with its parameters, as ``Select.params()`` does for a SELECT."""

    def bind(parameter: BindParameter[Any]) -> None:
        if parameter.key in values:
            parameter.value, parameter.required = values[parameter.key], False

    assert isinstance(statement, ClauseElement)
    return cloned_traverse(statement, {"maintain_key": True}, {"bindparam": bind})


def hot_queries(dataset: Dataset, trades: int) -> Mapping[str, Executable]:
    """Return statements by name, for a database with that many trades."""
    bots, users = dataset.by_trades()
    today = dataset.last_day(trades)
    days_30, days_90 = today - timedelta(days=29), today - timedelta(days=89)
    before = (today - timedelta(hours=1), trades)
    statements: dict[str, Executable] = {"1 claim due bots": scheduling.claim(limit=100)}
    for activity, rank in (("busy", 0), ("ordinary", len(bots) // 10)):
        bot, user = bots[rank], users[rank]
        statements |= {
            f"2 last trades of a bot, {activity}": queries.trades_of_bot(bot),
            f"2 next page of a bot, {activity}": queries.trades_of_bot(bot, before),
            f"3 last trades of a user, {activity}": queries.trades_of_user(user),
            f"3 next page of a user, {activity}": queries.trades_of_user(user, before),
            f"4 day of a bot, {activity}": queries.bot_result(bot, today),
            f"5 daily pnl, 90 days, {activity}": queries.daily_pnl(user, days_90),
            f"5 fees by asset, 30 days, {activity}": queries.fees_by_asset(user, days_30),
            f"7 positions of a user, {activity}": queries.positions_of_user(user),
            f"7 bots of a user, {activity}": queries.bots_of_user(user),
            f"9 pnl by symbol, 90 days, {activity}": queries.pnl_by_symbol(user, days_90),
        }
    bot, user = bots[0], users[0]
    symbol = dataset.symbols[bot - 1]
    recorded = dataset.order_id(trades - 1)
    assert recorded
    order = {
        "bot_config_id": bot,
        "user_id": dataset.owners[bot - 1],
        "binance_order_id": order_key(symbol, 1),
        "timestamp": today,
        "symbol": symbol,
        "side": "BUY",
        "order_type": "MARKET",
        "price": Decimal("64000.12"),
        "quantity_filled": Decimal("0.001"),
        "quote_quantity_filled": Decimal("64.00012"),
    }
    new = {name: [order.get(name)] for name in TRADE_COLUMNS}
    buyer, size, quantity = dataset.last_buyer(trades)
    locked = positions.LockedBot(
        buyer, dataset.owners[buyer - 1], joined(dataset.symbols[buyer - 1]), size, False
    )
    change = positions.Change(trades, size, quantity, Decimal("1e-8"))
    changes = {name: [value] for name, value in change._asdict().items()}
    prices = {"max_price_since_entry": Decimal("65000.5")}
    return statements | {
        "6 lock the state of a bot": bound(positions.LOCK, {"ids": [bot]}),
        "6 record a new order": bound(RECORD, new),
        "6 record an order again": bound(RECORD, new | {"binance_order_id": [recorded]}),
        "6 look up the order": bound(STORED, {"keys": [recorded]}),
        "6 derive the state of a bot": positions.derive_statement(
            changes | locked._asdict() | {"since": today}
        ),
        "8 tick": bound(scheduling.tick_statement(frozenset(prices)), {"bot": bot, **prices}),
        "10 keys of a user": queries.keys_of_user(user),
        "10 user by email": queries.user_by_email(f"user{user}@example.com"),
        "10 usable key": queries.usable_key(user),
        "11 find days that differ": positions.lock_different_days(today),
        "11 find days of a user that differ": positions.lock_different_days(today, user),
        "11 recompute days": positions.recompute_days(dataset.running, today),
        "12 unattended bots": queries.unattended_bots(),
        "12 unresolved entries": queries.unresolved_entries(),
    }
