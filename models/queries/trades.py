"""Recording what the exchange says about orders, and with it the position and day of their bots.

A report about an order is merged with what is stored, so that the result depends on the set of
the reports only, not on their order, number or recorder.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    String,
    and_,
    any_,
    bindparam,
    case,
    column,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.order_key import joined
from models.queries.positions import Change, coins, derive, lock_bots
from models.queries.values import TRADE_COLUMNS, exact, trade_row
from models.trade import Trade, TradeValues

# The table rather than the model: the statements are compiled once, and return a few columns.
_TRADES = Trade.metadata.tables[Trade.__tablename__]
_IDENTITY = ("bot_config_id", "user_id", "side")
"""Columns that identify an order, together with its key, which contains the symbol."""

Dust = Decimal | Mapping[str, Decimal]
"""The most coins that the exchange would not let one sell, for all symbols or by symbol."""


class Recorded(NamedTuple):
    """The result of recording a report.

    Attributes:
        is_new: Whether the order was not recorded before.
        is_changed: Whether the report added or changed anything; False for a repeat.
    """

    trade_id: int
    is_new: bool
    is_changed: bool


class OrderConflictError(Exception):
    """An order's key is taken by another order, one with another bot, user or side.

    Attributes:
        trade_id: The trade that has the key.
        columns: Those in which the orders differ.
    """

    def __init__(self, trade_id: int, columns: Sequence[str]) -> None:
        """Name the columns that differ, without their values."""
        super().__init__(f"trade {trade_id} has this order id, but other {', '.join(columns)}")
        self.trade_id, self.columns = trade_id, list(columns)

    def __reduce__(self) -> tuple[type[Self], tuple[int, list[str]]]:
        """Support pickling, which passes only the message by default."""
        return type(self), (self.trade_id, self.columns)


async def record_trade(
    session: AsyncSession, values: TradeValues, *, dust: Dust, since: datetime | None = None
) -> Recorded:
    """Record a report about an order, and derive the position and the day of its bot from it.

    The first report inserts the trade. Later ones are merged:

    - Amounts, commission and pnl are those stated with the largest ``quantity_filled``, which is
      cumulative. A commission or pnl that is stated without the rest, or later, is added by a
      report with the same quantity; if two differ, the commission with the larger absolute
      amount is kept, and the lower pnl. A rebate is a negative commission.
    - ``timestamp`` is the earliest stated: the time of the order's first fill on the exchange's
      clock, or of a later report. A symbol with a slash replaces one without.

    A report that adds nothing writes nothing. The bot's position and day then follow from its
    trades, as :mod:`models.queries` says; prices such as ``stop_loss_price`` are the caller's, to
    be set by :func:`~models.queries.tick` when the entry price has changed, and NULL in a new
    position. A position whose entry was reserved is opened by it. A :class:`~models.Trade` that
    the session has loaded keeps its old values; a loaded state is refreshed.

    Safe to repeat after a timeout, and to run from several workers at once: they wait for each
    other. A transaction that records several orders uses :func:`record_trades`.

    Args:
        session: The caller commits its transaction, and rolls it back after an error.
        values: See :class:`~models.trade.TradeValues`; :mod:`models.binance` makes them.
        dust: What is left of a position that has ended, at most, in coins: less than the
            exchange would let one sell, by its filters ``LOT_SIZE`` and ``NOTIONAL``.
        since: Start of the day of ``daily_pnl`` and ``daily_trades_count``, by default midnight
            in UTC.

    Raises:
        ValueError: The values are not those of a trade. Nothing is sent.
        OrderConflictError: The key is taken by another order. Nothing is written.
        PositionError: There is no such bot of the user. Nothing is written.
    """
    (recorded,) = await record_trades(session, [values], dust=dust, since=since)
    return recorded


async def record_trades(
    session: AsyncSession,
    rows: Iterable[TradeValues],
    *,
    dust: Dust,
    since: datetime | None = None,
) -> list[Recorded]:
    """Record many reports as :func:`record_trade` does, and return the result of each, in order.

    For history: after a restore, or after a connection was lost. It takes a statement for all
    rows, and one for each bot; and records all rows or, if it raises, none. A row is an order or a
    report about one, with cumulative amounts. The rows of ``GET /api/v3/myTrades`` are fills,
    several to an order: :func:`models.binance.trade_values` adds them up.

    Raises:
        ValueError: As for :func:`record_trade`; the message begins with the number of the row.
        OrderConflictError: As for :func:`record_trade`.
        PositionError: As for :func:`record_trade`.
    """
    reports = []
    dust_of = _by_symbol(dust)
    for number, values in enumerate(rows):
        try:
            reports.append(trade_row(values))
            dust_of(reports[-1]["symbol"])
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None
    if not reports:
        return []
    bots = await lock_bots(session, {(row["bot_config_id"], row["user_id"]) for row in reports})
    symbols = {bot.bot: bot.symbol for bot in bots}
    recorded: dict[int, Recorded] = {}
    changes: defaultdict[int, list[Change]] = defaultdict(list)
    async with session.begin_nested() if len(reports) > 1 else nullcontext():
        for turn in _turns(reports):
            batch = [reports[number] for number in turn]
            columns = {name: [row[name] for row in batch] for name in TRADE_COLUMNS}
            result = await session.execute(RECORD, columns)
            numbers = {reports[number]["binance_order_id"]: number for number in turn}
            if None in numbers:  # on paper: new rows, whose ids are in the order of the arrays
                written = dict(zip(turn, sorted(result), strict=True))
            else:
                written = {numbers[trade.binance_order_id]: trade for trade in result}
            if same := [reports[number] for number in turn if number not in written]:
                for key, trade_id in (await _unchanged(session, same)).items():
                    recorded[numbers[key]] = Recorded(trade_id, is_new=False, is_changed=False)
            for number, trade in written.items():
                bot, symbol = reports[number]["bot_config_id"], reports[number]["symbol"]
                recorded[number] = Recorded(trade.id, trade.before is None, is_changed=True)
                change = Change(trade.id, trade.before, trade.after, dust_of(symbol))
                if joined(symbol) != symbols[bot]:  # a trade of the bot, but not of its position
                    change = change._replace(before=Decimal(0), after=Decimal(0))
                changes[bot].append(change)
        for each in bots:
            if each.bot in changes:
                await derive(session, each, changes[each.bot], since)
    return [recorded[number] for number in range(len(reports))]


def _turns(reports: Sequence[Mapping[str, Any]]) -> Iterable[list[int]]:
    """Distribute reports over statements, sorted by key: one cannot write a row twice."""
    turns: defaultdict[int, list[int]] = defaultdict(list)
    seen: Counter[str | None] = Counter()
    for number in sorted(range(len(reports)), key=lambda n: reports[n]["binance_order_id"] or ""):
        key = reports[number]["binance_order_id"]
        turns[0 if key is None else seen[key] + 1].append(number)
        seen[key] += 1
    return turns.values()


def _by_symbol(dust: Dust) -> Callable[[str], Decimal]:
    if not isinstance(dust, Mapping):
        amount = exact("dust", dust)
        return lambda symbol: amount
    amounts = {joined(symbol): exact("dust", amount) for symbol, amount in dust.items()}

    def dust_of(symbol: str) -> Decimal:
        if joined(symbol) not in amounts:
            raise ValueError("no dust is given for its symbol")
        return amounts[joined(symbol)]

    return dust_of


def merged(report: Any, stored: Any) -> dict[str, ColumnElement[Any]]:
    """Return the columns of a trade after a report.

    Of several reports, the result is the same in any order: each column is the largest of
    something, or the smallest.
    """

    def of(row: Any, *names: str) -> list[Any]:
        return [row[name] for name in names]

    def spelling(row: Any) -> Any:
        return tuple_(func.length(row.symbol), row.symbol)  # the longer has a slash

    amounts = ("quantity_filled", "quote_quantity_filled", "price", "order_type")
    fee = ("commission_amount", "commission_asset")
    is_larger = report.quantity_filled > stored.quantity_filled
    is_as_large = report.quantity_filled == stored.quantity_filled
    has_amounts = tuple_(*of(report, *amounts)) > tuple_(*of(stored, *amounts))
    has_fee = is_larger | is_as_large & (
        stored.commission_amount.is_(None)
        | (
            tuple_(func.abs(report.commission_amount), *of(report, *fee))
            > tuple_(func.abs(stored.commission_amount), *of(stored, *fee))
        )
    )
    return {
        "symbol": case((spelling(report) > spelling(stored), report.symbol), else_=stored.symbol),
        "timestamp": func.least(report.timestamp, stored.timestamp),
        **{name: case((has_amounts, report[name]), else_=stored[name]) for name in amounts},
        **{name: case((has_fee, report[name]), else_=stored[name]) for name in fee},
        "pnl": case(
            (is_larger, report.pnl),
            (is_as_large, func.least(report.pnl, stored.pnl)),
            else_=stored.pnl,
        ),
    }


def record_statement() -> Select[Any, Any, Any, Any]:
    """Insert reports, or merge each with the stored one; select those that add something.

    The values are arrays.
    """
    columns = [_TRADES.c[name] for name in TRADE_COLUMNS]
    given = {each.name: bindparam(each.name, type_=ARRAY(each.type)) for each in columns}
    reports = (
        func.unnest(*given.values())
        .table_valued(*(column(each.name, each.type) for each in columns), name="report")
        .render_derived()
    )
    statement = insert(_TRADES).from_select(list(TRADE_COLUMNS), select(*reports.c))
    # With the values converted to the columns' types, for example rounded.
    report, stored = statement.excluded, _TRADES.c
    new = merged(report, stored)
    is_changed = tuple_(*new.values()).is_distinct_from(tuple_(*(stored[name] for name in new)))
    written = (
        statement.on_conflict_do_update(
            # By name: Citus needs the user in it.
            constraint="uq_trades_binance_order_id",
            set_=new,
            where=and_(*(report[name] == stored[name] for name in _IDENTITY), is_changed),
        )
        .returning(stored.id, stored.binance_order_id, coins(stored).label("after"))
        .cte("written")
    )
    # As they were before the statement. Materialized, so that Citus reads them first.
    old = (
        select(stored.id, coins(stored).label("before"))
        .where(*(stored[name] == any_(given[name]) for name in ("binance_order_id", "user_id")))
        .cte("old")
        .prefix_with("MATERIALIZED")
    )
    return (
        select(written.c.id, written.c.binance_order_id, written.c.after, old.c.before)
        .outerjoin_from(written, old, old.c.id == written.c.id)
        .add_cte(old, written)
    )


RECORD = record_statement()
"""Inserts or merges reports, given as arrays of the columns."""


STORED = select(*(_TRADES.c[name] for name in ("id", "binance_order_id", *_IDENTITY))).where(
    _TRADES.c.binance_order_id == any_(bindparam("keys", type_=ARRAY(String)))
)
"""Selects what the trades with one of the ``:keys`` are about."""


async def _unchanged(
    session: AsyncSession, reports: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Return the ids of the trades of reports that added nothing, by key.

    Raises:
        OrderConflictError: One is about another order than the trade with its key.
    """
    keys = {"keys": [report["binance_order_id"] for report in reports]}
    rows = (await session.execute(STORED, keys)).all()
    # If trades are distributed, two users may have the same key.
    stored = {row.binance_order_id: row for row in rows}
    stored |= {(row.binance_order_id, row.user_id): row for row in rows}
    found = {}
    for report in reports:
        key = report["binance_order_id"]
        trade = stored.get((key, report["user_id"])) or stored[key]
        if different := [name for name in _IDENTITY if getattr(trade, name) != report[name]]:
            raise OrderConflictError(trade.id, different)
        found[key] = trade.id
    return found
