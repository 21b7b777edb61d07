"""Random histories of a trading backend: workers, an exchange, and killed connections.

:class:`Trading` is a state machine of Hypothesis. It keeps the exchange's books, lets workers use
:mod:`models.queries` at the same time, kills the connections of some at any statement, and
compares the database with the books after every step.
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

    def report(self, filled: int, bare: bool, slash: bool) -> dict[str, Any]:
        """Return the values of a report; the same symbol may be spelt in two ways."""
        symbol = SYMBOLS[self.bot] if slash else SYMBOLS[self.bot].replace("/", "")
        fee: dict[str, Any] = {}
        if not bare:
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
        fees = {stored(self.fee(n)) for n, bare in self.reported if not bare}
        if (filled, False) in self.reported:
            assert trade.commission_amount == stored(self.fee(filled))
        else:  # known from an earlier fill at most
            assert trade.commission_amount in fees | {None}
        assert (trade.side, trade.order_type, trade.timestamp) == (self.side, self.kind, self.time)
        assert ("/" in trade.symbol) == (self.with_slash and "/" in SYMBOLS[self.bot])


@dataclass
class Position:
    """The position that follows a reserved entry."""

    entry: Order | None = None
    is_open: bool = False
    exits: list[Order] = field(default_factory=list)
    is_over: bool = False


class Fuse:
    """Kills a worker's connection at the n-th statement or commit."""

    def __init__(self, statements: int | None) -> None:
        self.left, self.is_blown = statements, False


FUSE: ContextVar[Fuse | None] = ContextVar("fuse", default=None)


_IS_CONNECTED = "SELECT FROM pg_stat_activity WHERE pid = %s"


class Laboratory:
    """A database, an event loop, and a connection that kills others."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.admin = psycopg.connect(url, autocommit=True)
        self.engine: AsyncEngine = make_engine(url, pool_size=2 * WORKERS + 2)
        for name in ("before_cursor_execute", "commit"):
            event.listen(self.engine.sync_engine, name, self._burn)

    def close(self) -> None:
        self.runner.run(self.engine.dispose())
        self.runner.close()
        self.admin.close()

    def _burn(self, connection: Connection, *_: Any) -> None:
        fuse = FUSE.get()
        if fuse is None or fuse.left is None:
            return
        fuse.left -= 1
        if fuse.left < 0 and not fuse.is_blown:
            fuse.is_blown = True
            driver: Any = connection.connection.driver_connection
            pid = [driver.get_server_pid()]
            self.admin.execute("SELECT pg_terminate_backend(%s)", pid)
            while self.admin.execute(_IS_CONNECTED, pid).fetchone():
                pass


class Dice:
    """Choices of a step, drawn before it, since the options depend on races."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = iter(numbers)

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[next(self.numbers, 0) % len(choices)]

    def number(self, first: int, last: int) -> int:
        return self.one_of(range(first, last + 1))

    def flip(self) -> bool:
        return self.one_of([False, True])

    def some(self, most: int, choose: Callable[[], T]) -> list[T]:
        return [choose() for _ in range(self.number(1, most))]

    def fuse(self) -> int | None:
        """Return which statement is a worker's last, or None, which is most frequent."""
        return self.one_of([None, None, None, self.number(0, 12)])


class Trading(RuleBasedStateMachine):
    """See the module. ``laboratory`` is set by the test."""

    laboratory: Laboratory

    def __init__(self) -> None:
        super().__init__()
        self.run = self.laboratory.runner.run
        self.engine = self.laboratory.engine
        self.positions: dict[int, list[Position]] = {bot: [] for bot in SYMBOLS}
        self.orders: list[Order] = []
        self.day = 0
        self.seconds = 0
        # Bots whose day has to be recomputed.
        self.uncounted: set[int] = set()
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

    async def _work(
        self, *jobs: tuple[int | None, Callable[[AsyncSession], Awaitable[None]]]
    ) -> None:
        """Run jobs on concurrent workers, some of which fail with a broken connection."""

        async def work(number: int, fuse: Fuse, job: Job) -> None:
            FUSE.set(fuse)
            try:
                await job(self.sessions[number])
            except DBAPIError as error:
                if not (fuse.is_blown and error.connection_invalidated):
                    raise
            finally:
                FUSE.set(None)
                if fuse.is_blown:
                    await self.sessions[number].close()
                    self.sessions[number] = self._session()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            for number, (statements, job) in enumerate(jobs):
                tasks.create_task(work(number, Fuse(statements), job))

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
        self, session: AsyncSession, order: Order, filled: int, bare: bool, slash: bool
    ) -> None:
        """Record a report about an order, as the worker that runs the bot does."""
        report = order.report(filled, bare, slash)
        async with session.begin():
            if order.side == Side.BUY:
                await queries.open_position(
                    session, report, stop_loss_price=Decimal(1), since=self.since
                )
            else:
                is_final = order.closes and filled == len(order.fills)
                await queries.close_position(session, report, closed=is_final, since=self.since)
        self._reported(order, filled, bare, slash)
        position = next(
            position
            for position in self.positions[order.bot]
            if order in (position.entry, *position.exits)
        )
        if order.side == Side.BUY:
            position.is_open = True
        elif order.closes and filled == len(order.fills):
            position.is_over = True

    @staticmethod
    def _reported(order: Order, filled: int, bare: bool, slash: bool) -> None:
        order.reported.add((filled, bare))
        order.with_slash |= slash

    # Steps

    @rule(dice=st.builds(Dice, st.lists(st.integers(0, 999), min_size=30, max_size=30)))
    def step(self, dice: Dice) -> None:
        """Run a random step, more often the more important ones."""
        steps = [self.work] * 8 + [self.enter, self.claim, self.read_reports] * 3
        steps += [self.record_first, self.switch] * 2
        steps += [self.midnight, self.report_at_a_naive_time]
        dice.one_of(steps)(dice)

    def enter(self, dice: Dice) -> None:
        """Let workers reserve an entry; the successful one sends an order, unless it is killed."""
        flat_bots = [bot for bot in SYMBOLS if self._is_flat(bot)] * 4
        bot = dice.one_of([*flat_bots, *SYMBOLS])
        fuses = dice.some(WORKERS, dice.fuse)
        fills = dice.some(3, lambda: dice.number(1, 9))
        kind = dice.one_of(["MARKET", "PEGGED_BY_A_NEW_RULE"])
        sent = dice.one_of([True, True, False])
        flat = self._is_flat(bot)
        winners: list[int] = []

        async def reserve(session: AsyncSession) -> None:
            async with session.begin():
                reserved = await queries.reserve_entry(session, bot)
            if reserved:
                winners.append(bot)

        self.run(self._work(*((fuse, reserve) for fuse in fuses)))
        assert len(winners) <= flat, "two entries for one position"
        assert winners or not flat or None not in fuses
        if winners:
            entry = self._new_order(bot, Side.BUY, fills, False, kind) if sent else None
            self.positions[bot].append(Position(entry))

    def _is_flat(self, bot: int) -> bool:
        return all(position.is_over for position in self.positions[bot])

    def work(self, dice: Dice) -> None:
        """Run different jobs on concurrent workers."""
        kinds = [self._a_report] * 4 + [self._an_exit] * 3 + [self._a_settlement] * 2
        kinds += [self._a_refresh] * 2 + [self._an_import, self._a_tick]
        chosen = dice.some(WORKERS, lambda: dice.one_of(kinds))
        jobs = [(dice.fuse(), job) for kind in chosen if (job := kind(dice))]
        self.newly_uncounted: set[int] = set()
        self.run(self._work(*jobs))
        self.uncounted |= self.newly_uncounted

    def _a_report(self, dice: Dice) -> Job | None:
        """Report a known order: again, out of order, or with more fills."""
        orders = [order for order in self.orders if not order.is_recorded_first]
        if not orders:
            return None
        order = dice.one_of(orders)
        filled = dice.number(1, len(order.fills))
        bare, slash = dice.flip(), dice.flip()
        return lambda session: self._deliver(session, order, filled, bare, slash)

    def _an_exit(self, dice: Dice) -> Job:
        """Sell, unless an order is not completely reported."""
        bot = dice.one_of(sorted(SYMBOLS))
        fills = dice.some(3, lambda: dice.number(1, 3))
        filled = dice.number(1, len(fills))
        closes, bare = dice.one_of([True, True, False]), dice.flip()

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
                if position.is_over:  # by a concurrent report
                    return
                order = self._new_order(bot, Side.SELL, fills, closes, "LIMIT")
                position.exits.append(order)
                await self._deliver(session, order, filled, bare, True)

        return exit_

    def _a_settlement(self, dice: Dice) -> Job:
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
                    position.is_over |= released

        return settle

    def _a_refresh(self, dice: Dice) -> Job:
        async def refresh(session: AsyncSession) -> None:
            async with session.begin():
                await queries.refresh_day(session, self.since)
            self.uncounted.clear()

        return refresh

    def _a_tick(self, dice: Dice) -> Job:
        bot = dice.one_of(sorted(SYMBOLS))

        async def tick(session: AsyncSession) -> None:
            async with session.begin():
                await session.execute(queries.tick(bot, last_error_message="x"))

        return tick

    def _an_import(self, dice: Dice) -> Job | None:
        """Record reports of orders of closed positions, in any order."""
        over = [
            order
            for positions in self.positions.values()
            for position in positions
            if position.is_over
            for order in (position.entry, *position.exits)
            if order
        ]
        if not over:
            return None
        drawn = [
            (order, dice.number(1, len(order.fills)), dice.flip())
            for order in dice.some(6, lambda: dice.one_of(over))
        ]

        async def import_(session: AsyncSession) -> None:
            async with session.begin():
                recorded = await queries.record_trades(
                    session, [order.report(filled, bare, True) for order, filled, bare in drawn]
                )
            for (order, filled, bare), what in zip(drawn, recorded, strict=True):
                self._reported(order, filled, bare, True)
                if what.is_changed:
                    self.newly_uncounted.add(order.bot)

        return import_

    def _not_reported(self) -> list[Order]:
        """Return the unreported orders whose reports open or close a position."""
        return [
            order
            for positions in self.positions.values()
            for position in positions
            for order in [
                *([position.entry] if position.entry and not position.is_open else []),
                *(order for order in position.exits if order.closes and not position.is_over),
            ]
            if not order.reported
        ]

    def record_first(self, dice: Dice) -> None:
        """Record an entry that a killed worker has sent, or an exit that is not reported yet."""
        if not self._not_reported():
            return self.work(dice)
        order = dice.one_of(self._not_reported())

        async def record(session: AsyncSession) -> None:
            async with session.begin():
                await queries.record_trade(session, order.report(len(order.fills), True, False))
            self._reported(order, len(order.fills), True, False)
            order.is_recorded_first = True
            self.uncounted.add(order.bot)

        self.run(self._work((dice.fuse(), record)))
        return None

    def midnight(self, dice: Dice) -> None:
        self.day += 1
        self.uncounted |= set(SYMBOLS)

    def claim(self, dice: Dice) -> None:
        """Let two hours pass, and let workers claim bots."""
        fuses = dice.some(WORKERS, dice.fuse)
        limit = dice.number(1, 3)
        self.laboratory.admin.execute(
            "UPDATE bot_states SET last_run_at = now() - interval '2 hours'"
        )
        claimed: list[BotState] = []

        async def claim(session: AsyncSession) -> None:
            async with session.begin():
                states = await queries.claim_due_bots(session, limit)
            claimed.extend(states)
            # An application may keep references, so that they stay in the session.
            session.info["claimed"] = states

        self.run(self._work(*((fuse, claim) for fuse in fuses)))
        assert len({state.id for state in claimed}) == len(claimed), "two workers got a bot"
        for state in claimed:
            assert state.config.symbol == SYMBOLS[state.id]
            self._check_position(state)

    def switch(self, dice: Dice) -> None:
        """Switch a bot on or off, its owner, its status."""
        bot = dice.one_of(sorted(SYMBOLS))
        switched_on, owner = dice.one_of([True, True, False]), dice.one_of([True, True, False])
        status = dice.one_of(["running", "running", "stopped", "error"])
        for statement in (
            f"UPDATE bot_configs SET is_active = {switched_on} WHERE id = {bot}",
            f"UPDATE bot_states SET status = '{status}' WHERE id = {bot}",
            f"UPDATE users SET is_active = {owner}",
        ):
            self.laboratory.admin.execute(statement)

    def report_at_a_naive_time(self, dice: Dice) -> None:
        if not self.orders:
            return
        order, bulk = self.orders[-1], dice.flip()
        report = order.report(1, True, True) | {"timestamp": order.time.replace(tzinfo=None)}

        async def record(session: AsyncSession) -> None:
            async with session.begin():
                if bulk:
                    await queries.record_trades(session, [report])
                else:
                    await queries.record_trade(session, report)

        with pytest.raises(ExceptionGroup) as caught:
            self.run(self._work((None, record)))
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
            known = [order for order in self.orders if order.reported]
            assert sorted(trades) == sorted(order.key for order in known)
            for order in known:
                order.check(trades[order.key])
            states = await session.scalars(
                select(BotState).where(BotState.id.in_(SYMBOLS)).order_by(BotState.id)
            )
            for state in states:
                self._check_position(state)
                if state.id not in self.uncounted:
                    assert (state.daily_pnl, state.daily_trades_count) == self._day(state.id)

    def _check_position(self, state: BotState) -> None:
        position = self.positions[state.id][-1] if self.positions[state.id] else None
        assert state.in_position == (position is not None and not position.is_over)
        if position is None or position.is_over or not position.is_open:
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

    def read_reports(self, dice: Dice) -> None:
        """Check the reports for owners and operators."""
        self.run(self._read_reports())

    async def _read_reports(self) -> None:
        async with AsyncSession(self.engine) as session:
            await self._check_reports(session)

    async def _check_reports(self, session: AsyncSession) -> None:
        reserved = [
            bot
            for bot, positions in self.positions.items()
            if positions and not (positions[-1].is_open or positions[-1].is_over)
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
        why = {}
        for bot, switched_on, owner, status, in_position in rows:
            if not (switched_on or in_position):
                continue
            if not switched_on:
                why[bot] = "bot switched off"
            elif not owner:
                why[bot] = "owner inactive"
            elif status == "missing":
                why[bot] = "no state row"
            elif status != "running":
                why[bot] = f"status {status}"
        assert unattended == why
