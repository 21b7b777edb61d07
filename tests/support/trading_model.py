"""Random histories of a trading backend: workers, an exchange, and terminated connections.

:class:`Trading` is a state machine of Hypothesis. It keeps the exchange's books, lets workers use
:mod:`models.queries` at the same time, terminates the connections of some at any statement,
and compares the database with the books after every step.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection, event, func, select, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig, BotState, Side, Trade, User, queries
from models.database import make_engine
from tests.support import factories

WORKERS = 3
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
SYMBOLS = {1: "BTC/USDT", 2: "ETHBTC"}


def stored(amount: Decimal) -> Decimal:
    """Round as ``numeric(38, 18)`` does."""
    return amount.quantize(Decimal(1).scaleb(-18), context=EXACT)


T = TypeVar("T")
Job = Callable[[AsyncSession], Awaitable[None]]


@dataclass
class Order:
    """An order on the exchange, and the reports after each fill."""

    bot: int
    side: Side
    number: int
    time: datetime
    fills: list[Decimal]
    closes: bool
    kind: str
    # Committed reports: the number of fills, and whether the commission is missing.
    reported: set[tuple[int, bool]] = field(default_factory=set)
    with_slash: bool = False
    is_recorded_first: bool = False

    @property
    def key(self) -> str:
        return f"{SYMBOLS[self.bot].replace('/', '')}:{self.number}"

    @property
    def quote(self) -> str:
        """Return the currency of the pnl; for a symbol without a slash, the symbol itself."""
        symbol = SYMBOLS[self.bot]
        return (
            symbol.partition("/")[2]
            if self.with_slash and "/" in symbol
            else (symbol.replace("/", ""))
        )

    @property
    def is_complete(self) -> bool:
        return any(filled == len(self.fills) for filled, _ in self.reported)

    def amounts(self, filled: int) -> dict[str, Any]:
        quantity = sum(self.fills[:filled])
        price = (100 + self.number + Decimal(filled)) / 3
        return {
            "quantity_filled": quantity,
            "price": price,
            "quote_quantity_filled": EXACT.multiply(price, quantity),
            "pnl": quantity * (self.number % 7 - 3) if self.side == Side.SELL else None,
        }

    def fee(self, filled: int) -> Decimal:
        return sum(self.fills[:filled], Decimal(0)) * (-1 if self.number % 5 == 0 else 1) / 1000

    def report(self, filled: int, without_fee: bool, slash: bool) -> dict[str, Any]:
        """Return the values of a report; the same symbol may be spelt in two ways."""
        symbol = SYMBOLS[self.bot] if slash else SYMBOLS[self.bot].replace("/", "")
        fee: dict[str, Any] = {}
        if not without_fee:
            fee = {"commission_amount": self.fee(filled), "commission_asset": "BNB"}
        return {
            "bot_config_id": self.bot,
            "user_id": 1,
            "binance_order_id": f"{symbol}:{self.number}",
            "symbol": symbol,
            "side": self.side,
            "order_type": self.kind,
            "timestamp": self.time,
            **self.amounts(filled),
            **fee,
        }

    def check(self, trade: Trade) -> None:
        """Compare a trade with the books."""
        filled = max(filled for filled, _ in self.reported)
        for name, value in self.amounts(filled).items():
            assert getattr(trade, name) == (value if value is None else stored(value)), name
        fees = {stored(self.fee(n)) for n, without_fee in self.reported if not without_fee}
        if (filled, False) in self.reported:
            assert trade.commission_amount == stored(self.fee(filled))
        else:  # reported for an earlier fill, or not at all
            assert trade.commission_amount in fees | {None}
        assert (trade.side, trade.order_type, trade.timestamp) == (self.side, self.kind, self.time)
        assert ("/" in trade.symbol) == (self.with_slash and "/" in SYMBOLS[self.bot])


@dataclass
class Position:
    """The position that follows a reserved entry."""

    entry: Order | None = None
    is_open: bool = False
    exits: list[Order] = field(default_factory=list)
    is_closed: bool = False


class ScheduledKill:
    """The termination of a worker's connection, due after some statements and commits."""

    def __init__(self, statements: int | None) -> None:
        self.statements_left, self.is_done = statements, False


SCHEDULED_KILL: ContextVar[ScheduledKill | None] = ContextVar("scheduled_kill", default=None)

_IS_CONNECTED = "SELECT FROM pg_stat_activity WHERE pid = %s"


class Harness:
    """A database, an event loop, and an administrative connection that terminates others."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.admin = psycopg.connect(url, autocommit=True)
        self.engine: AsyncEngine = make_engine(url, pool_size=2 * WORKERS + 2)
        for name in ("before_cursor_execute", "commit"):
            event.listen(self.engine.sync_engine, name, self._kill_if_due)

    def close(self) -> None:
        self.runner.run(self.engine.dispose())
        self.runner.close()
        self.admin.close()

    def _kill_if_due(self, connection: Connection, *_: Any) -> None:
        kill = SCHEDULED_KILL.get()
        if kill is None or kill.statements_left is None:
            return
        kill.statements_left -= 1
        if kill.statements_left < 0 and not kill.is_done:
            kill.is_done = True
            driver: Any = connection.connection.driver_connection
            pid = [driver.get_server_pid()]
            self.admin.execute("SELECT pg_terminate_backend(%s)", pid)
            while self.admin.execute(_IS_CONNECTED, pid).fetchone():
                pass


class Choices:
    """Random choices of a step, drawn before it, since its options depend on races."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = iter(numbers)

    def one_of(self, options: Sequence[T]) -> T:
        return options[next(self.numbers, 0) % len(options)]

    def number(self, first: int, last: int) -> int:
        return self.one_of(range(first, last + 1))

    def boolean(self) -> bool:
        return self.one_of([False, True])

    def list_of(self, most: int, choose: Callable[[], T]) -> list[T]:
        return [choose() for _ in range(self.number(1, most))]

    def kill(self) -> int | None:
        """Return after how many statements to kill a worker; most often None: not at all."""
        return self.one_of([None, None, None, self.number(0, 12)])


class Trading(RuleBasedStateMachine):
    """The state machine. ``harness`` is set by the test."""

    harness: Harness

    def __init__(self) -> None:
        super().__init__()
        self.run = self.harness.runner.run
        self.engine = self.harness.engine
        self.positions: dict[int, list[Position]] = {bot: [] for bot in SYMBOLS}
        self.orders: list[Order] = []
        self.day = 0
        self.seconds = 0
        # Bots whose day has to be recomputed.
        self.stale_days: set[int] = set()
        self.leased: Counter[int] = Counter()
        self.sessions = [self._session() for _ in range(WORKERS)]

    def _session(self) -> AsyncSession:
        # Kept open, as a worker's may be, with the objects that it has loaded.
        return AsyncSession(self.engine, expire_on_commit=False)

    @property
    def since(self) -> datetime:
        return NEW_YEAR + timedelta(days=self.day)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        async with AsyncSession(self.engine) as session, session.begin():
            await session.execute(text("TRUNCATE users RESTART IDENTITY CASCADE"))
            owner = factories.user()
            for symbol in SYMBOLS.values():
                bot = factories.bot_config(owner=owner, symbol=symbol, is_active=True)
                bot.state = factories.bot_state(status="running")
                bot.check_interval_seconds = 3600
                session.add(bot)
                await session.flush()
            session.add(factories.bot_config(owner=owner, is_active=True))

    def teardown(self) -> None:
        async def close() -> None:
            for session in self.sessions:
                await session.close()

        self.run(close())

    # Workers

    async def _run_jobs(
        self, *jobs: tuple[int | None, Callable[[AsyncSession], Awaitable[None]]]
    ) -> None:
        """Run jobs on concurrent workers, some of which fail with a broken connection."""

        async def run_job(number: int, kill: ScheduledKill, job: Job) -> None:
            SCHEDULED_KILL.set(kill)
            try:
                await job(self.sessions[number])
            except DBAPIError as error:
                if not (kill.is_done and error.connection_invalidated):
                    raise
            finally:
                SCHEDULED_KILL.set(None)
                if kill.is_done:
                    await self.sessions[number].close()
                    self.sessions[number] = self._session()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            for number, (statements, job) in enumerate(jobs):
                tasks.create_task(run_job(number, ScheduledKill(statements), job))

    @asynccontextmanager
    async def _lease(self, bot: int) -> AsyncIterator[bool]:
        async with (
            self.engine.connect() as connection,
            queries.bot_lease(connection, bot) as leased,
        ):
            self.leased[bot] += leased
            assert self.leased[bot] <= 1, f"two workers run bot {bot}"
            try:
                yield leased
            finally:
                self.leased[bot] -= leased

    def _new_order(self, bot: int, side: Side, fills: list[int], closes: bool, kind: str) -> Order:
        self.seconds += 1
        order = Order(
            bot,
            side,
            number=len(self.orders) + 1,
            time=self.since + timedelta(seconds=self.seconds),
            fills=[Decimal(fill) / 8 for fill in fills],
            closes=closes,
            kind=kind,
        )
        self.orders.append(order)
        return order

    async def _deliver(
        self, session: AsyncSession, order: Order, filled: int, without_fee: bool, slash: bool
    ) -> None:
        """Record a report about an order, as the worker that runs the bot does."""
        report = order.report(filled, without_fee, slash)
        async with session.begin():
            if order.side == Side.BUY:
                await queries.open_position(
                    session, report, stop_loss_price=Decimal(1), since=self.since
                )
            else:
                is_final = order.closes and filled == len(order.fills)
                await queries.close_position(session, report, closed=is_final, since=self.since)
        self._reported(order, filled, without_fee, slash)
        position = next(
            position
            for position in self.positions[order.bot]
            if order in (position.entry, *position.exits)
        )
        if order.side == Side.BUY:
            position.is_open = True
        elif order.closes and filled == len(order.fills):
            position.is_closed = True

    @staticmethod
    def _reported(order: Order, filled: int, without_fee: bool, slash: bool) -> None:
        order.reported.add((filled, without_fee))
        order.with_slash |= slash

    # Steps

    @rule(choices=st.builds(Choices, st.lists(st.integers(0, 999), min_size=30, max_size=30)))
    def step(self, choices: Choices) -> None:
        """Run a random step, more often the more important ones."""
        steps = [self.run_jobs] * 8 + [self.enter, self.claim, self.check_reports] * 3
        steps += [self.record_first, self.switch_activity] * 2
        steps += [self.start_next_day, self.report_with_naive_time]
        choices.one_of(steps)(choices)

    def enter(self, choices: Choices) -> None:
        """Let workers reserve an entry; the successful one sends an order, unless it is killed."""
        flat_bots = [bot for bot in SYMBOLS if self._is_flat(bot)] * 4
        bot = choices.one_of([*flat_bots, *SYMBOLS])
        kills = choices.list_of(WORKERS, choices.kill)
        fills = choices.list_of(3, lambda: choices.number(1, 9))
        kind = choices.one_of(["MARKET", "PEGGED_TO_INDEX"])
        sent = choices.one_of([True, True, False])
        flat = self._is_flat(bot)
        reservations: list[int] = []

        async def reserve(session: AsyncSession) -> None:
            async with session.begin():
                reserved = await queries.reserve_entry(session, bot)
            if reserved:
                reservations.append(bot)

        self.run(self._run_jobs(*((kill, reserve) for kill in kills)))
        assert len(reservations) <= flat, "two entries for one position"
        assert reservations or not flat or None not in kills
        if reservations:
            entry = self._new_order(bot, Side.BUY, fills, False, kind) if sent else None
            self.positions[bot].append(Position(entry))

    def _is_flat(self, bot: int) -> bool:
        return all(position.is_closed for position in self.positions[bot])

    def run_jobs(self, choices: Choices) -> None:
        """Run different jobs on concurrent workers."""
        job_factories = [self._report_job] * 4 + [self._exit_job] * 3 + [self._settlement_job] * 2
        job_factories += [self._refresh_job] * 2 + [self._import_job, self._tick_job]
        chosen = choices.list_of(WORKERS, lambda: choices.one_of(job_factories))
        jobs = [(choices.kill(), job) for make_job in chosen if (job := make_job(choices))]
        self.newly_stale: set[int] = set()
        self.run(self._run_jobs(*jobs))
        self.stale_days |= self.newly_stale

    def _report_job(self, choices: Choices) -> Job | None:
        """Report an order of the exchange: again, out of order, or with more fills."""
        orders = [order for order in self.orders if not order.is_recorded_first]
        if not orders:
            return None
        order = choices.one_of(orders)
        filled = choices.number(1, len(order.fills))
        without_fee, slash = choices.boolean(), choices.boolean()
        return lambda session: self._deliver(session, order, filled, without_fee, slash)

    def _exit_job(self, choices: Choices) -> Job:
        """Sell, unless an order is not completely reported."""
        bot = choices.one_of(sorted(SYMBOLS))
        fills = choices.list_of(3, lambda: choices.number(1, 3))
        filled = choices.number(1, len(fills))
        closes, without_fee = choices.one_of([True, True, False]), choices.boolean()

        async def exit_(session: AsyncSession) -> None:
            async with self._lease(bot) as leased:
                if not leased:
                    return
                async with session.begin():
                    held = await session.execute(
                        select(BotState.in_position, BotState.entry_price).where(
                            BotState.id == bot
                        )
                    )
                    in_position, entry_price = held.one()
                if not in_position or entry_price is None:
                    return
                position = self.positions[bot][-1]
                for order in position.exits:
                    if order.is_recorded_first or not order.is_complete:
                        await self._deliver(session, order, len(order.fills), False, True)
                        order.is_recorded_first = False
                        return
                if position.is_closed:  # by a concurrent report
                    return
                order = self._new_order(bot, Side.SELL, fills, closes, "LIMIT")
                position.exits.append(order)
                await self._deliver(session, order, filled, without_fee, True)

        return exit_

    def _settlement_job(self, choices: Choices) -> Job:
        """Settle the reservations of killed workers with the exchange."""

        async def settle(session: AsyncSession) -> None:
            async with session.begin():
                bots = [state.id for state in await session.scalars(queries.unresolved_entries())]
            for bot in bots:
                async with self._lease(bot) as leased:
                    position = self.positions[bot][-1]
                    if not leased or position.is_open:
                        continue
                    if position.entry:
                        entry = position.entry
                        await self._deliver(session, entry, len(entry.fills), False, True)
                        entry.is_recorded_first = False
                        continue
                    async with session.begin():
                        released = await queries.release_entry(session, bot)
                    position.is_closed |= released

        return settle

    def _refresh_job(self, choices: Choices) -> Job:
        async def refresh(session: AsyncSession) -> None:
            async with session.begin():
                await queries.refresh_day(session, self.since)
            self.stale_days.clear()

        return refresh

    def _tick_job(self, choices: Choices) -> Job:
        bot = choices.one_of(sorted(SYMBOLS))

        async def tick(session: AsyncSession) -> None:
            async with session.begin():
                await session.execute(queries.tick(bot, last_error_message="x"))

        return tick

    def _import_job(self, choices: Choices) -> Job | None:
        """Record reports of orders of closed positions, in any order."""
        closed_orders = [
            order
            for positions in self.positions.values()
            for position in positions
            if position.is_closed
            for order in (position.entry, *position.exits)
            if order
        ]
        if not closed_orders:
            return None
        drawn = [
            (order, choices.number(1, len(order.fills)), choices.boolean())
            for order in choices.list_of(6, lambda: choices.one_of(closed_orders))
        ]

        async def import_(session: AsyncSession) -> None:
            async with session.begin():
                recorded = await queries.record_trades(
                    session,
                    [
                        order.report(filled, without_fee, True)
                        for order, filled, without_fee in drawn
                    ],
                )
            for (order, filled, without_fee), result in zip(drawn, recorded, strict=True):
                self._reported(order, filled, without_fee, True)
                if result.is_changed:
                    self.newly_stale.add(order.bot)

        return import_

    def _unreported_orders(self) -> list[Order]:
        """Return the unreported orders whose reports open or close a position."""
        return [
            order
            for positions in self.positions.values()
            for position in positions
            for order in [
                *([position.entry] if position.entry and not position.is_open else []),
                *(order for order in position.exits if order.closes and not position.is_closed),
            ]
            if not order.reported
        ]

    def record_first(self, choices: Choices) -> None:
        """Record an entry that a killed worker has sent, or an exit that is not reported yet."""
        if not self._unreported_orders():
            return self.run_jobs(choices)
        order = choices.one_of(self._unreported_orders())

        async def record(session: AsyncSession) -> None:
            async with session.begin():
                await queries.record_trade(session, order.report(len(order.fills), True, False))
            self._reported(order, len(order.fills), True, False)
            order.is_recorded_first = True
            self.stale_days.add(order.bot)

        self.run(self._run_jobs((choices.kill(), record)))
        return None

    def start_next_day(self, choices: Choices) -> None:
        self.day += 1
        self.stale_days |= set(SYMBOLS)

    def claim(self, choices: Choices) -> None:
        """Let two hours pass, and let workers claim bots."""
        kills = choices.list_of(WORKERS, choices.kill)
        limit = choices.number(1, 3)
        self.harness.admin.execute(
            "UPDATE bot_states SET last_run_at = now() - interval '2 hours'"
        )
        claimed: list[BotState] = []

        async def claim(session: AsyncSession) -> None:
            async with session.begin():
                states = await queries.claim_due_bots(session, limit)
            claimed.extend(states)
            # An application may keep references, so that they stay in the session.
            session.info["claimed"] = states

        self.run(self._run_jobs(*((kill, claim) for kill in kills)))
        assert len({state.id for state in claimed}) == len(claimed), (
            "two workers claimed the same bot"
        )
        for state in claimed:
            assert state.config.symbol == SYMBOLS[state.id]
            self._check_position(state)

    def switch_activity(self, choices: Choices) -> None:
        """Switch a bot on or off, its owner, its status."""
        bot = choices.one_of(sorted(SYMBOLS))
        switched_on, owner = (
            choices.one_of([True, True, False]),
            choices.one_of([True, True, False]),
        )
        status = choices.one_of(["running", "running", "stopped", "error"])
        for statement in (
            f"UPDATE bot_configs SET is_active = {switched_on} WHERE id = {bot}",
            f"UPDATE bot_states SET status = '{status}' WHERE id = {bot}",
            f"UPDATE users SET is_active = {owner}",
        ):
            self.harness.admin.execute(statement)

    def report_with_naive_time(self, choices: Choices) -> None:
        if not self.orders:
            return
        order, bulk = self.orders[-1], choices.boolean()
        report = order.report(1, True, True) | {"timestamp": order.time.replace(tzinfo=None)}

        async def record(session: AsyncSession) -> None:
            async with session.begin():
                if bulk:
                    await queries.record_trades(session, [report])
                else:
                    await queries.record_trade(session, report)

        with pytest.raises(ExceptionGroup) as caught:
            self.run(self._run_jobs((None, record)))
        assert caught.group_contains(StatementError, match="naive")

    # Invariants after every step

    @invariant()
    def database_matches_books(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        async with AsyncSession(self.engine) as session:
            trades = {
                str(trade.binance_order_id): trade
                for trade in await session.scalars(select(Trade))
            }
            reported = [order for order in self.orders if order.reported]
            assert sorted(trades) == sorted(order.key for order in reported)
            for order in reported:
                order.check(trades[order.key])
            states = await session.scalars(
                select(BotState).where(BotState.id.in_(SYMBOLS)).order_by(BotState.id)
            )
            for state in states:
                self._check_position(state)
                if state.id not in self.stale_days:
                    assert (state.daily_pnl, state.daily_trades_count) == self._day(state.id)

    def _check_position(self, state: BotState) -> None:
        position = self.positions[state.id][-1] if self.positions[state.id] else None
        assert state.in_position == (position is not None and not position.is_closed)
        if position is None or position.is_closed or not position.is_open:
            held = (state.entry_price, state.current_position_size_coins, state.stop_loss_price)
            assert held == (None, None, None)
            assert (state.max_price_since_entry, state.take_profit_price) == (None, None)
            return
        assert position.entry
        bought = position.entry.amounts(self._filled(position.entry))
        sold = sum(
            (
                order.amounts(self._filled(order))["quantity_filled"]
                for order in position.exits
                if order.reported and not order.is_recorded_first
            ),
            Decimal(0),
        )
        assert state.entry_price == stored(bought["price"])
        assert state.current_position_size_coins == bought["quantity_filled"] - sold
        assert state.stop_loss_price == 1

    @staticmethod
    def _filled(order: Order) -> int:
        return max(filled for filled, _ in order.reported)

    def _day(self, bot: int) -> tuple[Decimal, int]:
        orders = [
            order
            for order in self.orders
            if order.bot == bot and order.reported and order.time >= self.since
        ]
        return self._pnl(orders), len(orders)

    def _pnl(self, orders: Iterable[Order]) -> Decimal:
        pnls = (order.amounts(self._filled(order))["pnl"] for order in orders)
        return sum(filter(None, pnls), Decimal(0))

    def check_reports(self, choices: Choices) -> None:
        """Check the reports for owners and operators."""

        async def check() -> None:
            async with AsyncSession(self.engine) as session:
                await self._check_reports(session)

        self.run(check())

    async def _check_reports(self, session: AsyncSession) -> None:
        reserved = [
            bot
            for bot, positions in self.positions.items()
            if positions and not (positions[-1].is_open or positions[-1].is_closed)
        ]
        unresolved = await session.scalars(queries.unresolved_entries())
        assert [state.id for state in unresolved] == reserved
        pnl: dict[str, Decimal] = defaultdict(Decimal)
        for _, quote, amount in await session.execute(queries.daily_pnl(1, NEW_YEAR)):
            pnl[quote] += amount or 0
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders:
            if order.reported:
                expected[order.quote] += self._pnl([order])
        sums = {quote: amount for quote, amount in expected.items() if amount}
        assert {quote: amount for quote, amount in pnl.items() if amount} == sums
        unattended = {
            bot.id: reason for bot, reason in await session.execute(queries.unattended_bots())
        }
        rows = await session.execute(
            select(
                BotConfig.id,
                BotConfig.is_active,
                User.is_active,
                func.coalesce(BotState.status, "missing"),
                BotState.in_position,
            )
            .join(BotConfig.owner)
            .outerjoin(BotConfig.state)
        )
        expected_reasons = {}
        for bot, switched_on, owner, status, in_position in rows:
            if not (switched_on or in_position):
                continue
            if not switched_on:
                expected_reasons[bot] = "bot switched off"
            elif not owner:
                expected_reasons[bot] = "owner inactive"
            elif status == "missing":
                expected_reasons[bot] = "no state row"
            elif status != "running":
                expected_reasons[bot] = f"status {status}"
        assert unattended == expected_reasons
