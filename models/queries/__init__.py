"""A backend's operations on the tables, written to use the indexes and to lose no money.

**Trades are the facts; a bot's position and day follow from them.** ``record_trade`` and
``record_trades`` take the values of trades (:class:`models.trade.TradeValues`), in which amounts
are cumulative, and derive the state of the bots in the same transaction::

    await record_trade(session, values, dust=dust, since=midnight)
    await record_trades(session, rows, dust=dust or {symbol: dust}, since=midnight)

The same reports give the same trades and the same state, in any order, repeated, one by one or in
bulk, by any worker:

- The amounts, the commission and the pnl of a trade are those stated with the largest
  ``quantity_filled``; a commission or pnl not stated with it is unknown, until it is. Its
  ``timestamp`` is the earliest that is stated.
- The size is what the bot's orders for its symbol have bought, less sold, less commission in the
  coin itself. The bot is in position while it is larger than ``dust``, an amount of coins; what
  is left at the end remains in ``current_position_size_coins``, and belongs to the next position.
- The entry price is the average, by quantity, of the orders that bought since the bot was flat.
- The day are the trades since ``since``.

Functions that return a statement are for ``session.execute()`` or ``session.scalars()``;
coroutines run in the session's transaction, which the caller commits. Those that write are safe
to repeat after a crash or a timeout, and to run from several workers at once. The tests check that
they read few pages, regardless of the number of trades; docs/benchmarks.md has the measurements.

A caller that passes wrong values gets a :class:`ValueError` before anything is sent. Other errors
are :class:`OrderConflictError`, :class:`PositionError`, and SQLAlchemy's.
"""

from models.order_key import order_key
from models.queries.accounts import (
    bots_of_user,
    delete_bot,
    forget_user,
    keys_of_user,
    usable_key,
    user_by_email,
)
from models.queries.positions import (
    PositionError,
    positions_of_user,
    rebuild_positions,
    refresh_day,
    release_entry,
    reserve_entry,
    unresolved_entries,
)
from models.queries.reports import (
    Cursor,
    bot_result,
    daily_pnl,
    fees_by_asset,
    pnl_by_symbol,
    trades_of_bot,
    trades_of_user,
)
from models.queries.scheduling import (
    Prices,
    bot_lease,
    claim_due_bots,
    start_bot,
    stop_bot,
    tick,
    ticks,
    unattended_bots,
)
from models.queries.trades import OrderConflictError, Recorded, record_trade, record_trades

__all__ = [
    "Cursor",
    "OrderConflictError",
    "PositionError",
    "Prices",
    "Recorded",
    "bot_lease",
    "bot_result",
    "bots_of_user",
    "claim_due_bots",
    "daily_pnl",
    "delete_bot",
    "fees_by_asset",
    "forget_user",
    "keys_of_user",
    "order_key",
    "pnl_by_symbol",
    "positions_of_user",
    "rebuild_positions",
    "record_trade",
    "record_trades",
    "refresh_day",
    "release_entry",
    "reserve_entry",
    "start_bot",
    "stop_bot",
    "tick",
    "ticks",
    "trades_of_bot",
    "trades_of_user",
    "unattended_bots",
    "unresolved_entries",
    "usable_key",
    "user_by_email",
]
