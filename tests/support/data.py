"""Generates the database of a backend after some years, the same at every run.

Most bots are inactive; of the running ones, the busiest makes hundreds of trades a day and the
least active one trade a week. The number of trades grows with time: ten times the trades are ten
times the days. Every period repeats the first, trade by trade, so that a query about the last
days has the same result at every size.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TypeVar

import psycopg

START = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT", "ETH/BTC", "PEPE/USDT")
TRADE_COLUMNS = (
    "bot_config_id, user_id, binance_order_id, symbol, side, order_type, price, quantity_filled,"
    " quote_quantity_filled, commission_amount, commission_asset, pnl, timestamp"
)
# Size of every position; half of the running bots have one.
HELD = Decimal("0.00123")
# Trades sent at a time.
CHUNK = 10_000

T = TypeVar("T")
Progress = Callable[[range], Iterable[int]]


class Dataset:
    """The users, their bots, and a period of trades.

    Args:
        users: Number of users.
        bots: Number of bots.
        running: Number of running bots.
        period: Number of trades after which the pattern repeats.
        trades_per_day: Number of trades of all bots together.
    """

    def __init__(
        self,
        users: int = 10_000,
        bots: int = 50_000,
        running: int = 2_000,
        period: int = 1_000_000,
        trades_per_day: int = 10_000,
    ) -> None:
        """Generate the bots and the trades, which takes some seconds."""
        self._random = random.Random(20261124)  # noqa: S311 - not a secret
        self.users, self.bots = users, bots
        self.trades_per_day = trades_per_day
        self.owners = self._skewed(range(1, users + 1), bots, 0.5)
        self.symbols = self._skewed(SYMBOLS, bots, 0.5)
        # The newer a bot, the more likely it is running.
        by_age = sorted(range(1, bots + 1), key=lambda bot: self._random.random() ** (bots / bot))
        self.running = by_age[-running:]
        self.pattern = list(self._pattern(self._skewed(self.running, period, 0.8)))

    def trades(self, first: int, last: int) -> Iterator[str]:
        """Yield trades, numbered from 0, as lines for COPY."""
        period = len(self.pattern)
        interval = timedelta(days=1) / self.trades_per_day
        for number in range(first, last):
            bot, _, values = self.pattern[number % period]
            order = self.order_id(number) or r"\N"
            yield f"{bot}\t{order}\t{values}\t{START + interval * number}\n"

    def order_id(self, number: int) -> str | None:
        """Return the order id of a trade. The ids increase; a fifth are paper trades."""
        _, market, _ = self.pattern[number % len(self.pattern)]
        return f"{market}:{10_000_000_000 + number}" if number % 5 else None

    def last_buyer(self, trades: int) -> tuple[int, Decimal, Decimal]:
        """Return the busiest of the bots whose last trade is a BUY, its size, and the quantity."""
        last: dict[int, tuple[str, Decimal]] = {}
        for number in range(max(0, trades - len(self.pattern)), trades):
            bot, _, values = self.pattern[number % len(self.pattern)]
            symbol, side, _, _, quantity, *_ = values.split("\t")
            if symbol != "BNB/USDT":  # whose fees are paid in the coin
                last[int(bot.partition("\t")[0])] = side, Decimal(quantity)
        bots, _ = self.by_trades()
        buyer = next(bot for bot in bots if bot in last and last[bot][0] == "BUY")
        return buyer, Decimal(0) if buyer % 2 else HELD, last[buyer][1]

    def last_day(self, trades: int) -> datetime:
        """Return the start of the day of the last of ``trades`` trades."""
        return START + timedelta(days=(trades - 1) // self.trades_per_day)

    def by_trades(self) -> tuple[list[int], list[int]]:
        """Return bots, and users, the busiest first."""
        bots: Counter[str] = Counter(bot for bot, _, _ in self.pattern)
        users: Counter[str] = Counter()
        for bot, trades in bots.items():
            users[bot.partition("\t")[2]] += trades
        return (
            [int(bot.partition("\t")[0]) for bot, _ in bots.most_common()],
            [int(user) for user, _ in users.most_common()],
        )

    def _skewed(self, members: Iterable[T], number: int, exponent: float) -> list[T]:
        """Draw members by Zipf's law."""
        members = list(members)
        weights = accumulate((rank + 1) ** -exponent for rank in range(len(members)))
        return self._random.choices(members, cum_weights=list(weights), k=number)

    def _pattern(self, bots: Iterable[int]) -> Iterator[tuple[str, str, str]]:
        held: dict[int, float] = {}
        draw = self._random.random
        for bot in bots:
            symbol, price, quantity = self.symbols[bot - 1], 100 * draw() + 1, draw()
            if bot in held:
                side, pnl = "SELL", f"{self._random.gauss(1, 25):.8f}"
                quantity = held.pop(bot)
            else:
                side, pnl = "BUY", r"\N"
                held[bot] = quantity
            values = (
                f"{symbol}\t{side}\tMARKET\t{price:.8f}\t{quantity:.5f}\t{price * quantity:.8f}"
                f"\t{quantity / 1000:.8f}\tBNB\t{pnl}"
            )
            yield f"{bot}\t{self.owners[bot - 1]}", symbol.replace("/", ""), values


def fill(url: str, dataset: Dataset) -> None:
    """Fill a database at the first revision with users, API keys, bots and their states."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO users (email, hashed_password)"
            " SELECT 'user' || n || '@example.com', '$argon2id$' || n"
            " FROM generate_series(1, %s) n",
            [dataset.users],
        )
        connection.execute(
            "INSERT INTO api_keys (user_id, encrypted_api_key, encrypted_secret_key)"
            " SELECT id, repeat('k', 100), repeat('s', 2000) FROM users, generate_series(1, 2)"
        )
        connection.execute(
            "INSERT INTO bot_configs (user_id, name, symbol, timeframe, is_active, stop_loss_perc,"
            " take_profit_perc, ema_fast, ema_slow, rsi_period, rsi_oversold, rsi_overbought)"
            " SELECT owner, 'Bot ' || id, symbol, '1m', id = ANY (%s::int[]), 2, 5, 9, 21, 14, 30,"
            " 70 FROM unnest(%s::int[], %s::text[]) WITH ORDINALITY b (owner, symbol, id)"
            " ORDER BY id",
            [dataset.running, dataset.owners, dataset.symbols],
        )
        # Half of the running bots hold a position; all are due, however late they are claimed.
        connection.execute(
            "INSERT INTO bot_states (id, status, in_position, entry_price,"
            " current_position_size_coins, trailing_stop_price, max_price_since_entry,"
            " take_profit_price, stop_loss_price, daily_pnl, daily_trades_count, last_run_at)"
            " SELECT id, CASE WHEN is_active THEN 'running' ELSE 'stopped' END, held,"
            f" CASE WHEN held THEN 64000.12 END, CASE WHEN held THEN {HELD} END,"
            " CASE WHEN held THEN 63000.5 END, CASE WHEN held THEN 64999.99 END,"
            " CASE WHEN held THEN 67200 END, CASE WHEN held THEN 62720.12 END,"
            " CASE WHEN is_active THEN 12.345678 ELSE 0 END, CASE WHEN is_active THEN 3 ELSE 0"
            " END, '2000-01-01Z'::timestamptz"
            " FROM (SELECT *, is_active AND id % 2 = 0 AS held FROM bot_configs) b ORDER BY id"
        )


def fill_trades(
    url: str, dataset: Dataset, first: int, last: int, progress: Progress = iter
) -> None:
    """Add trades ``first`` up to, not including, ``last``, by COPY.

    They reference existing bots and users, so the foreign keys are not checked.
    """
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        with connection.cursor().copy(f"COPY trades ({TRADE_COLUMNS}) FROM STDIN") as copy:
            for start in progress(range(first, last, CHUNK)):
                copy.write("".join(dataset.trades(start, min(start + CHUNK, last))))
