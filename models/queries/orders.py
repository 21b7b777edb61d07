"""Recording an order's reports from the exchange once, even if they are repeated or late."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Select,
    String,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from models.base import Base
from models.trade import Trade

# The table rather than the model: the statements are compiled once, and return a few columns.
_TRADES = Base.metadata.tables[Trade.__tablename__]
Report = dict[str, Any]
_IDENTITY = ("bot_config_id", "user_id", "symbol", "side")
"""Columns that identify an order, together with its key."""
_COLUMNS = [column.name for column in _TRADES.columns if column.name != "id"]
_REQUIRED = frozenset(
    column.name
    for column in _TRADES.columns
    if not column.nullable and column.server_default is None and column.name != "id"
)


class Recorded(NamedTuple):
    """The result of recording a report."""

    trade_id: int
    is_new: bool
    """Whether the order was not recorded before."""
    is_changed: bool
    """Whether the report added or changed anything; False for a repeat."""


class OrderConflictError(Exception):
    """An order's key is taken by another order, one with another bot, user, symbol or side.

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


def order_key(symbol: str, order_id: int | str) -> str:
    """Return the value of ``trades.binance_order_id``: ``BTCUSDT:28`` for ``BTC/USDT`` and 28.

    Binance numbers orders within a symbol, so an order id alone does not identify an order.

    Raises:
        ValueError: A part is empty.
    """
    parts = (*symbol.split("/"), str(order_id))
    if not all(part.strip() for part in parts):
        raise ValueError("an order key needs a symbol and an order id; one of them is empty")
    return f"{_without_slash(symbol)}:{order_id}"


def plain_key(key: str) -> str:
    """Write an order's key as :func:`order_key` does."""
    symbol, colon, order_id = key.rpartition(":")
    return _without_slash(symbol) + colon + order_id


async def record_trade(session: AsyncSession, values: Mapping[str, Any]) -> Recorded:
    """Record a report about an order, given as columns of :class:`~models.Trade`.

    The first report inserts the trade, in one round trip. A later one is merged:

    - Price, quantities, commission and pnl are taken from the report with the larger
      ``quantity_filled``, which is cumulative, where it has them.
    - At the same quantity, the commission with the larger absolute amount is kept, and NULL
      columns are filled. A report with a smaller quantity is late and adds nothing.
    - No value becomes NULL, and the first ``timestamp`` is kept. A symbol with a slash replaces
      one without.

    A report that adds nothing writes nothing. Keys that a report does not have may be left out,
    or be None; the first report needs all columns without a default. ``binance_order_id`` is an
    :func:`order_key`; a slash in its symbol is removed. Without one, a trade on paper, the trade
    is always new.

    **Commission** is the sum over all fills so far, in one currency. Binance states it fill by
    fill, to be summed by the caller: as ``n`` and ``N`` of each ``executionReport`` of the user
    data stream, as ``fills[].commission`` in the answer to a new order, and in
    ``GET /api/v3/myTrades``. ``GET /api/v3/order`` has none. The quantities that go with it are
    cumulative: ``z`` and ``Z``, ``executedQty`` and ``cummulativeQuoteQty`` (Binance spot API,
    "User Data Streams" and "REST API"). An order that pays in two currencies, as when BNB runs
    out, needs one of them converted. A rebate is negative. State it with the largest quantity, so
    that what is stored does not depend on the order in which reports arrive.

    Safe to repeat after a timeout and to run from several workers at once: they wait for each
    other. So a transaction that records several orders sorts them by key, or uses
    :func:`record_trades`, and locks no state of a bot after a trade: that is the order of
    :func:`~models.queries.open_position`. A :class:`~models.Trade` that the session has loaded
    keeps its old values.

    Raises:
        OrderConflictError: The key is taken by another order. Nothing is written.
    """
    await session.flush()
    row = _row(values)
    if _REQUIRED - row.keys():
        row = _complete(row, await _stored(session, [row], lock=True))
    written = (await session.execute(RECORD, row)).one_or_none()
    if written is not None:
        return Recorded(written.id, written.is_new, is_changed=True)
    (recorded,) = (await _unchanged(session, [row])).values()
    return recorded


async def record_trades(
    session: AsyncSession, rows: Iterable[Mapping[str, Any]]
) -> list[Recorded]:
    """Record many reports as :func:`record_trade` does, and return the result of each, in order.

    For history: after a restore, or after a connection was lost. It takes a round trip for a
    thousand rows, and records all rows or, if it raises, none.
    """
    await session.flush()
    reports = [_row(values) for values in rows]
    if any("timestamp" not in report for report in reports):
        now = await session.scalar(select(func.now()))
        reports = [{"timestamp": now} | report for report in reports]
    recorded: dict[int, Recorded] = {}
    on_paper: list[int] = []
    # One statement cannot write a row twice, so the second reports of orders follow the first.
    # Workers that lock orders by key do not deadlock; what comes later is locked already.
    turns: list[dict[str, int]] = []
    number_of_reports: defaultdict[str | None, int] = defaultdict(int)
    for index, report in sorted(enumerate(reports), key=lambda item: _key(item[1]) or ""):
        if (key := _key(report)) is None:
            on_paper.append(index)
            continue
        if number_of_reports[key] == len(turns):
            turns.append({})
        turns[number_of_reports[key]][key] = index
        number_of_reports[key] += 1
    async with session.begin_nested():
        if on_paper:
            new = await session.scalars(
                insert(_TRADES).returning(_TRADES.c.id, sort_by_parameter_order=True),
                [dict.fromkeys(_COLUMNS) | reports[index] for index in on_paper],
            )
            for index, trade_id in zip(on_paper, new, strict=True):
                recorded[index] = Recorded(trade_id, is_new=True, is_changed=True)
        for turn in turns:
            by_key = await _record_each(session, [reports[index] for index in turn.values()])
            recorded |= {index: by_key[key] for key, index in turn.items()}
    return [recorded[index] for index in range(len(reports))]


async def _record_each(session: AsyncSession, reports: Sequence[Report]) -> dict[str, Recorded]:
    """Record one report each of several orders, sorted by key; return the results."""
    incomplete = [report for report in reports if _REQUIRED - report.keys()]
    if incomplete:
        stored = await _stored(session, incomplete)  # not locked: that would be out of order
        reports = [_complete(report, stored) for report in reports]
    written = await session.execute(
        RECORD, [dict.fromkeys(_COLUMNS) | report for report in reports]
    )
    recorded = {
        row.binance_order_id: Recorded(row.id, row.is_new, is_changed=True) for row in written
    }
    rest = [report for report in reports if _key(report) not in recorded]
    return recorded | (await _unchanged(session, rest) if rest else {})


def _record() -> ReturningInsert[int, str | None, bool]:
    """Insert a report, or merge it with the stored one; return nothing if it adds nothing."""
    statement = insert(_TRADES)
    # With the values converted to the columns' types, for example rounded.
    report = statement.excluded
    stored = _TRADES.c
    is_same_order = and_(
        *(report[name] == stored[name] for name in _IDENTITY if name != "symbol"),
        func.replace(report.symbol, "/", "") == func.replace(stored.symbol, "/", ""),
    )
    is_larger = report.quantity_filled > stored.quantity_filled
    is_as_large = report.quantity_filled == stored.quantity_filled
    has_commission = or_(
        and_(is_larger, report.commission_amount.is_not(None)),
        and_(
            is_as_large,
            or_(
                stored.commission_amount.is_(None),
                func.abs(report.commission_amount) > func.abs(stored.commission_amount),
            ),
        ),
    )

    def larger(name: str) -> ColumnElement[Any]:
        return case((is_larger, report[name]), else_=stored[name])

    def stated(name: str) -> ColumnElement[Any]:
        return func.coalesce(report[name], stored[name])

    def filled(name: str) -> ColumnElement[Any]:
        return func.coalesce(stored[name], report[name])

    merged = {
        # The longer of the two has a slash.
        "symbol": case(
            (func.length(report.symbol) > func.length(stored.symbol), report.symbol),
            else_=stored.symbol,
        ),
        "price": larger("price"),
        "quantity_filled": larger("quantity_filled"),
        "quote_quantity_filled": larger("quote_quantity_filled"),
        "commission_amount": case(
            (has_commission, stated("commission_amount")), else_=stored.commission_amount
        ),
        "commission_asset": case(
            (has_commission, stated("commission_asset")),
            (is_as_large, filled("commission_asset")),
            else_=stored.commission_asset,
        ),
        "pnl": case((is_larger, stated("pnl")), (is_as_large, filled("pnl")), else_=stored.pnl),
    }
    adds_something = tuple_(*merged.values()).is_distinct_from(
        tuple_(*(stored[name] for name in merged))
    )
    # ON CONFLICT locks an existing row, which sets its xmax to this transaction.
    is_new = literal_column("trades.xmax = 0", Boolean)
    return statement.on_conflict_do_update(
        index_elements=[stored.binance_order_id],
        set_=merged,
        where=and_(is_same_order, adds_something),
    ).returning(stored.id, stored.binance_order_id, is_new.label("is_new"))


def stored_trades(*, lock: bool) -> Select[Any]:
    """Select the trades of the orders with one of ``:keys``."""
    keys = bindparam("keys", type_=ARRAY(String))
    statement = select(_TRADES).where(_TRADES.c.binance_order_id == any_(keys))
    return statement.with_for_update(key_share=True) if lock else statement


async def _stored(
    session: AsyncSession, reports: Sequence[Report], *, lock: bool = False
) -> dict[str, Report]:
    keys = {"keys": [_key(report) for report in reports]}
    rows = await session.execute(stored_trades(lock=lock), keys)
    return {row.binance_order_id: row._asdict() for row in rows}


async def _unchanged(session: AsyncSession, reports: Sequence[Report]) -> dict[str, Recorded]:
    """Return the results of reports that added nothing.

    Raises:
        OrderConflictError: One is about another order than the trade with its key.
    """
    recorded = {}
    stored = await _stored(session, reports)
    for key, report in ((report["binance_order_id"], report) for report in reports):
        row = stored[key]
        different = [
            name for name in _IDENTITY if _normalized(report, name) != _normalized(row, name)
        ]
        if different:
            raise OrderConflictError(row["id"], different)
        recorded[key] = Recorded(row["id"], is_new=False, is_changed=False)
    return recorded


def _normalized(row: Report, name: str) -> Any:
    return _without_slash(row[name]) if name == "symbol" else row[name]


def _without_slash(symbol: str) -> str:
    return symbol.replace("/", "")


def _key(report: Report) -> str | None:
    return report.get("binance_order_id")


def _row(values: Mapping[str, Any]) -> Report:
    """Omit NULLs, and write the key as :func:`order_key` does."""
    row = {name: value for name, value in values.items() if value is not None}
    if (key := _key(row)) is not None:
        row["binance_order_id"] = plain_key(key)
    return row


def _complete(report: Report, stored: Mapping[str, Report]) -> Report:
    """Add the columns that an INSERT requires from the stored row, if there is one."""
    row = stored.get(_key(report) or "", {})
    return {name: value for name, value in row.items() if name in _REQUIRED} | report


RECORD = _record()
"""Inserts or merges one report, given as columns; for several in turn, a list of them."""
