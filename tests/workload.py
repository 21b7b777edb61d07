"""The hot queries of a backend, on tables of realistic size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from sqlalchemy import func, select
from sqlalchemy.sql.base import Executable

from models import BotConfig, Trade
from tests.support import data
from tests.support.data import Dataset, Progress
from tests.support.hot_queries import hot_queries
from verification.databases import sync_engine


@dataclass
class BotWorkload:
    """Bots that trade; by default as few as show which index each query uses."""

    trades: int = 20_000
    options: Mapping[str, int] = field(
        default_factory=lambda: {
            "users": 400,
            "bots": 2_000,
            "running": 100,
            "period": 20_000,
            "trades_per_day": 200,
        }
    )
    progress: Progress = iter

    @cached_property
    def dataset(self) -> Dataset:
        """The generated users, bots and trades."""
        return Dataset(**self.options)

    def large(self, trades: int, progress: Progress) -> Self:
        """Return ten thousand users, fifty thousand bots, and a number of trades."""
        return type(self)(trades, {}, progress)

    def fill(self, url: str) -> None:
        """Fill a database at the first revision."""
        data.fill(url, self.dataset)
        data.fill_trades(url, self.dataset, 0, self.trades, self.progress)

    def statements(self) -> Mapping[str, Executable]:
        """Return the hot queries by name."""
        return hot_queries(self.dataset, self.trades)

    def statements_for(self, url: str) -> Mapping[str, Executable]:
        """Return the hot queries for a database with any trades; without trades, none."""
        stored = Stored(url)
        return hot_queries(stored, stored.last_id) if stored.last_id else {}


class Stored(Dataset):
    """The bots and users of a database, as parameters of the hot queries."""

    owners: Any
    symbols: Any
    last_id: int | None
    _last: Any
    _order: str | None

    def __init__(self, url: str) -> None:
        """Read the latest trades, and the bots."""
        latest = (
            select(Trade.bot_config_id, Trade.user_id)
            .order_by(Trade.id.desc())
            .limit(100_000)
            .subquery()
        )
        bots = select(BotConfig.id, BotConfig.user_id, BotConfig.symbol, BotConfig.is_active)
        with sync_engine(url).connect() as connection:
            self._busiest = tuple(
                [*connection.scalars(select(id_).group_by(id_).order_by(func.count().desc(), id_))]
                for id_ in (latest.c.bot_config_id, latest.c.user_id)
            )
            rows = connection.execute(bots).all()
            last = select(*map(func.max, (Trade.id, Trade.timestamp, Trade.binance_order_id)))
            self.last_id, self._last, self._order = tuple(connection.execute(last).one())
        self.owners = {row.id - 1: row.user_id for row in rows}
        self.symbols = {row.id - 1: row.symbol for row in rows}
        self.running = [row.id for row in rows if row.is_active]

    def by_trades(self) -> tuple[list[int], list[int]]:
        """Return bots, and users, the busiest first."""
        bots, users = self._busiest
        return bots, users

    def last_day(self, trades: int) -> datetime:
        """Return when the day of the last trade begins."""
        last: datetime = self._last.astimezone(UTC)
        return last.replace(hour=0, minute=0, second=0, microsecond=0)

    def order_id(self, number: int) -> str | None:
        """Return the order id of a trade."""
        return str(self._order)
