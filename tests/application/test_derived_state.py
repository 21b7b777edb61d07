"""The same reports, in any order, number and manner, give the exchange's books.

Hypothesis draws orders, their fills and fees, and how their reports reach the database: several
workers at once, one by one or in bulk, repeated, with broken connections and a restored backup.
Each fault of :data:`FAULTS` must be found in this way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from functools import partial
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import case, delete, false, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from examples.exchange import LOT, SYMBOLS, Exchange, Order
from models import Base, BotConfig, Trade, queries
from models.binance import trade_values
from models.database import make_engine
from models.queries import positions, trades, values
from models.trade import TradeValues
from tests.support import factories

START = datetime(2026, 11, 24, 20, tzinfo=UTC)
MIDNIGHT = START.replace(hour=0) + timedelta(days=1)
EXACT, STEP = Context(prec=60), Decimal("1e-18")
ZERO = Decimal(0)
TRADES, STATES = (Base.metadata.tables[name] for name in ("trades", "bot_states"))
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Database:
    """A database, workers' sessions, and an event loop."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.engine = make_engine(url, pool_size=4)

    async def transact(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            return await function(session, *args)


@pytest.fixture(name="database_with_loop", scope="module")
def _database(make_database: Callable[[str], str], migrated_template: str) -> Iterator[Database]:
    database = Database(make_database(migrated_template))
    yield database
    database.runner.run(database.engine.dispose())
    database.runner.close()


# What happens on the exchange


@st.composite
def exchanges(draw: Draw) -> tuple[str, Exchange]:
    """Draw the orders of a bot: entries and exits, filled in parts, paid in one or two assets."""
    symbol = draw(st.sampled_from(sorted(SYMBOLS)))
    exchange = Exchange(START)
    for number in range(draw(st.integers(1, 6))):
        exchange.now += timedelta(hours=draw(st.integers(0, 3)), milliseconds=1)
        held = exchange.held("bot").quantize(LOT, "ROUND_DOWN")
        is_exit = held >= LOT and draw(st.booleans())
        quantity = held if is_exit else LOT * draw(st.integers(1, 9))
        price = exchange.price(symbol) * draw(st.integers(95, 105)) / 100
        side = "SELL" if is_exit else "BUY"
        exchange.new_order(symbol, side, quantity, f"bot-{number}", type="LIMIT", price=price)
        draw_fills(draw, exchange, exchange.orders[-1], price)
        # Sometimes more of an order is filled after others.
        for order in exchange.orders[:-1]:
            if order.is_open and draw(st.booleans()):
                exchange.now += timedelta(milliseconds=1)
                draw_fills(draw, exchange, order, order.price)
    return symbol, exchange


def draw_fills(draw: Draw, exchange: Exchange, order: Order, price: Decimal) -> None:
    exchange.commission_rate = Decimal(draw(st.sampled_from([1, 1, 1, 0, -1]))) / 1000
    for _ in range(draw(st.integers(0, 3))):
        rest = (order.quantity - order.executed) // LOT
        if rest:
            exchange.pays_in_bnb = draw(st.booleans())
            exchange.now += timedelta(milliseconds=draw(st.integers(0, 1)))
            exchange.fill(order, LOT * draw(st.integers(1, int(rest))), price)
    if order.is_open and (status := draw(st.sampled_from([None, "CANCELED", "EXPIRED"]))):
        exchange.end(order, status)


def with_pnl(report: TradeValues) -> TradeValues:
    """State the pnl of an exit, as its worker would compute it."""
    if report["side"] == "SELL":
        report["pnl"] = pnl(report["quantity_filled"])
    return report


def pnl(quantity: Decimal) -> Decimal:
    return quantity * (5 - int(quantity / LOT) % 9)


def complete(bot: BotConfig, exchange: Exchange, order: Order, venue: str) -> TradeValues:
    """Return all that the exchange's history states about an order."""
    row = exchange.query_order(order.symbol, order.client_order_id)
    report = trade_values(bot, row, *exchange.my_trades(order.symbol, order.id), venue=venue)
    assert report
    return with_pnl(report)


@st.composite
def partial_reports(
    draw: Draw, bot: BotConfig, exchange: Exchange, venue: str
) -> list[TradeValues]:
    """Draw what else has been said about the orders meanwhile, with a part of their fees."""
    reports = []
    for order in exchange.orders:
        payloads = [report for report in exchange.reports if report["i"] == order.id]
        for first in range(len(payloads)):
            seen = payloads[first : first + draw(st.integers(1, 3))]
            if (report := trade_values(bot, *seen, venue=venue)) is not None:
                if draw(st.booleans()):  # as another worker writes it
                    report["symbol"] = order.symbol
                    report["binance_order_id"] = f"{venue}:{bot.symbol}:{order.id}"
                reports.append(with_pnl(report) if draw(st.booleans()) else report)
    return reports


# How the reports reach the database


async def deliver(
    database: Database,
    bot: BotConfig,
    queue: list[tuple[list[TradeValues], str]],
    dust: Decimal,
) -> None:
    """Let three workers record batches of reports at the same time, beside other work."""

    async def work() -> None:
        while queue:
            reports, manner = queue.pop()
            # A worker that is killed records what another, or the next run, records again.
            if manner == "by a killed worker":
                with suppress(DBAPIError):
                    await database.transact(record, reports, dust, manner)
                manner = "one by one"
            await database.transact(record, reports, dust, manner)

    async def do_other_work() -> None:
        while queue:
            await database.transact(queries.refresh_day, MIDNIGHT, bot.user_id)
            await database.transact(queries.claim_due_bots)
            await database.transact(queries.ticks, {bot.id: {"take_profit_price": Decimal(1)}})

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(work())
        tasks.create_task(do_other_work())


async def record(
    session: AsyncSession, reports: list[TradeValues], dust: Decimal, manner: str
) -> None:
    if manner == "in bulk":
        await queries.record_trades(session, reports, dust=dust, since=MIDNIGHT)
    else:
        for report in reports:
            await queries.record_trade(session, report, dust=dust, since=MIDNIGHT)
    if manner == "by a killed worker":
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


Saved = tuple[list[dict[str, Any]], dict[str, Any]]


async def backup(session: AsyncSession, bot: BotConfig) -> Saved:
    rows = await session.execute(select(TRADES).where(TRADES.c.bot_config_id == bot.id))
    state = await session.execute(select(STATES).where(STATES.c.id == bot.id))
    return [row._asdict() for row in rows], state.one()._asdict()


async def restore(session: AsyncSession, bot: BotConfig, saved: Saved) -> None:
    await session.execute(delete(Trade).where(Trade.bot_config_id == bot.id))
    if saved[0]:
        await session.execute(insert(TRADES), saved[0])
    await session.execute(update(STATES).where(STATES.c.id == bot.id).values(saved[1]))


# What must be the result


def books(exchange: Exchange, dust: Decimal) -> dict[str, Any]:
    """Return the state by the exchange's books, computed from the first order to the last."""
    held = bought = paid = ZERO
    orders = [order for order in exchange.orders if order.fills]
    for _, same in groupby(sorted(orders, key=first_fill), first_fill):
        if held <= dust:
            bought = paid = ZERO
        for order in same:
            held += order.executed if order.side == "BUY" else -order.executed
            held -= order.fees.get(SYMBOLS[order.symbol][0], ZERO)
            if order.side == "BUY":
                bought += order.executed
                paid += order.executed * price(order)
    assert held == exchange.held("bot")
    today = [order for order in orders if order.fills[0].time >= MIDNIGHT]
    is_open = held > dust
    # As PostgreSQL rounds; the price of a trade is rounded in Python.
    entry = EXACT.divide(paid, bought).quantize(STEP, ROUND_HALF_UP, EXACT) if is_open else None
    return {
        "in_position": is_open,
        "entry_price": entry,
        "current_position_size_coins": held or None,
        "daily_pnl": sum((pnl(o.executed) for o in today if o.side == "SELL"), ZERO),
        "daily_trades_count": len(today),
    }


def first_fill(order: Order) -> datetime:
    return order.fills[0].time


def price(order: Order) -> Decimal:
    average = EXACT.divide(order.quote_executed, order.executed)
    return average.quantize(STEP, ROUND_HALF_EVEN, EXACT)


def trade(order: Order) -> dict[str, Any]:
    paid = [asset for asset, fee in order.fees.items() if fee] or list(order.fees)
    asset = next(asset for asset in (*SYMBOLS[order.symbol], "BNB") if asset in paid)
    return {
        "symbol": "/".join(SYMBOLS[order.symbol]),
        "side": order.side,
        "order_type": order.type,
        "price": price(order),
        "quantity_filled": order.executed,
        "quote_quantity_filled": order.quote_executed,
        "timestamp": order.fills[0].time,
        "commission_amount": order.fees[asset],
        "commission_asset": asset,
        "pnl": pnl(order.executed) if order.side == "SELL" else None,
    }


def compare(saved: Saved, exchange: Exchange, venue: str, dust: Decimal) -> None:
    rows, state = saved
    expected = {
        queries.order_key(order.symbol, order.id, venue): trade(order)
        for order in exchange.orders
        if order.fills
    }
    stored = {row["binance_order_id"]: row for row in rows}
    assert stored.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: stored[key][name] for name in row} == row
    expected_state = books(exchange, dust)
    assert {name: state[name] for name in expected_state} == expected_state


def check(database: Database, draw: Draw) -> None:
    run = database.runner.run
    symbol, exchange = draw(exchanges())
    bot = run(database.transact(factories.add_bot, "/".join(SYMBOLS[symbol])))
    venue = f"test-{bot.id}"
    dust = draw(st.sampled_from([ZERO, LOT, 2 * LOT]))
    known = [complete(bot, exchange, order, venue) for order in exchange.orders if order.fills]
    said = draw(partial_reports(bot, exchange, venue))

    def batches(reports: list[TradeValues]) -> list[tuple[list[TradeValues], str]]:
        size = draw(st.integers(1, 4))
        manners = st.sampled_from(["one by one", "in bulk", "by a killed worker"])
        shuffled = draw(st.permutations(reports))
        starts = range(0, len(shuffled), size)
        return [(shuffled[start : start + size], draw(manners)) for start in starts]

    run(deliver(database, bot, batches(said), dust))
    saved = run(database.transact(backup, bot))
    some = draw(st.lists(st.sampled_from(known + said), max_size=6)) if known else []
    run(deliver(database, bot, batches(some), dust))
    if draw(st.booleans()):
        run(database.transact(restore, bot, saved))
    run(deliver(database, bot, batches(known + some), dust))
    compare(run(database.transact(backup, bot)), exchange, venue, dust)


def run_examples(database: Database, examples: int = 40) -> None:
    @seed(4)  # with which the first dozen of examples find the faults
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.data())
    def examine(data: st.DataObject) -> None:
        check(database, data.draw)

    examine()


def test_any_order_of_reports_gives_the_books(database_with_loop: Database) -> None:
    run_examples(database_with_loop)


# Faults: wrong replacements for parts of the operations. The test above must find each.

Fault = Callable[[pytest.MonkeyPatch], None]


def instead(module: Any, name: str, wrong: Callable[..., Any]) -> Fault:
    """Call another function, which gets the right one first."""
    return lambda patch: patch.setattr(module, name, partial(wrong, getattr(module, name)))


def merging(**columns: Callable[[Any, Any], Any]) -> Fault:
    """Merge some columns of a report in another way."""

    def merged(right: Callable[..., Any], report: Any, stored: Any) -> Any:
        return right(report, stored) | {n: merge(report, stored) for n, merge in columns.items()}

    return instead(trades, "merged", merged)


def count_without_fees(patch: pytest.MonkeyPatch) -> None:
    def coins(trade: Any) -> Any:
        return case((trade.side == "BUY", trade.quantity_filled), else_=-trade.quantity_filled)

    for module in (trades, positions):
        patch.setattr(module, "coins", coins)


async def commit_first(derive: Any, session: AsyncSession, *args: Any) -> None:
    await session.commit()
    await derive(session, *args)


async def count_again(derive: Any, session: Any, bot: Any, changes: Any, since: Any) -> None:
    await derive(session, bot, [change._replace(before=ZERO) for change in changes], since)


async def only_singly(derive: Any, session: Any, bot: Any, changes: Any, since: Any) -> None:
    if len(changes) == 1:
        await derive(session, bot, changes, since)


def ever_bought(_: Any, bot: Any, is_of_bot: Any) -> Any:
    bought = func.sum(Trade.quantity_filled)
    return (
        select(
            (func.sum(Trade.price * Trade.quantity_filled) / bought).label("price"),
            false().label("is_new"),
        )
        .where(is_of_bot(Trade), Trade.side == "BUY")
        .subquery()
    )


FAULTS: dict[str, Fault] = {
    "later reports of an order are ignored": merging(
        **{
            name: lambda _, stored, name=name: stored[name]
            for name in ("quantity_filled", "quote_quantity_filled", "price")
        }
    ),
    "a report with a smaller quantity is taken": merging(
        quantity_filled=lambda report, _: report.quantity_filled
    ),
    "the larger fee is kept": merging(
        commission_amount=lambda r, s: func.greatest(r.commission_amount, s.commission_amount)
    ),
    "the fee of a part is kept": merging(
        **{
            name: lambda r, s, name=name: func.coalesce(s[name], r[name])
            for name in ("commission_amount", "commission_asset")
        }
    ),
    "the first timestamp is kept": merging(timestamp=lambda _, stored: stored.timestamp),
    "the first pnl is kept": merging(pnl=lambda r, s: func.coalesce(s.pnl, r.pnl)),
    "the first spelling is kept": merging(symbol=lambda _, stored: stored.symbol),
    "an order has two keys": instead(values, "_key", lambda _, key, symbol: key),
    "fees in coins are not subtracted": count_without_fees,
    "a late report counts again": instead(trades, "derive", count_again),
    "an import changes no position": instead(trades, "derive", only_singly),
    "a trade is recorded in two steps": instead(trades, "derive", commit_first),
    "the state is not locked": lambda patch: patch.setattr(
        positions, "LOCK", positions.LOCK.with_for_update(read=True, key_share=True)
    ),
    "the position ends with nothing left": instead(
        trades, "_by_symbol", lambda _, dust: lambda symbol: ZERO
    ),
    "all that was ever bought is the entry": instead(positions, "entry_of", ever_bought),
    "the day is all days": instead(
        positions, "day_of", lambda right, bot, since: right(bot, since - timedelta(9))
    ),
}


@pytest.mark.usefixtures("abandoned_connections")
@pytest.mark.parametrize("fault", FAULTS)
def test_injected_faults_are_found(
    database_with_loop: Database, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS[fault](monkeypatch)
    monkeypatch.setattr(trades, "RECORD", trades.record_statement())
    monkeypatch.setattr(positions, "DERIVE", positions.derive_statement())
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        # Which workers meet depends on the machine; the first dozen of examples usually suffice.
        run_examples(database_with_loop, 1_000)
    found = BaseExceptionGroup("found", [caught.value])
    crashes = (AttributeError, NameError, TypeError)
    assert found.subgroup(crashes) is None, "the fault itself does not run"
