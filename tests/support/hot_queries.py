"""The hot queries of :mod:`models.queries`, for a busy and an ordinary bot and user."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.sql.base import Executable

from models import BotState, Trade, queries
from models.queries import days, orders, positions, scheduling
from tests.support.data import Dataset


def order_of(dataset: Dataset, bot: int) -> dict[str, Any]:
    """Return a report of the exchange about an order of a bot, without the order's key."""
    return {
        "bot_config_id": bot,
        "user_id": dataset.owners[bot - 1],
        "symbol": dataset.symbols[bot - 1],
        "side": "BUY",
        "order_type": "MARKET",
        "price": Decimal("64000.12"),
        "quantity_filled": Decimal("0.001"),
        "quote_quantity_filled": Decimal("64.00012"),
    }


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
    order = order_of(dataset, bot)
    recorded = dataset.order_id(trades - 1)
    assert recorded
    return statements | {
        "6 record a new order": orders.RECORD.values(order | {"binance_order_id": "BTCUSDT:1"}),
        "6 record an order again": orders.RECORD.values(order | {"binance_order_id": recorded}),
        "6 look up the order": orders.stored_trades(lock=True).params(keys=[recorded]),
        "6 lock the trade of an order": positions.lock_trade(recorded),
        "8 tick": queries.tick(bot, max_price_since_entry=Decimal("65000.5")),
        "10 keys of a user": queries.keys_of_user(user),
        "10 user by email": queries.user_by_email(f"user{user}@example.com"),
        "10 usable key": queries.usable_key(user),
        "11 find days that differ": days.lock_different_days(today),
        "11 find days of a user that differ": days.lock_different_days(today, user),
        "11 recompute days": days.recompute_days(dataset.running, today),
        "12 unattended bots": queries.unattended_bots(),
        "12 unresolved entries": queries.unresolved_entries(),
        "13 change a position": positions.change(
            bot,
            {"entry_price": Trade.price},
            BotState.id == Trade.bot_config_id,
            Trade.id == trades,
        ),
    }
