"""The hot queries of a backend, on tables of realistic size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from sqlalchemy.sql.base import Executable

from tests.support import data
from tests.support.data import Dataset, Progress
from tests.support.hot_queries import hot_queries


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
