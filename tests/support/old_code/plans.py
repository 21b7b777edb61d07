"""The plans of hot queries before and after revisions, with enough rows for each to matter."""

from collections.abc import Callable, Mapping

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support import data, databases
from tests.support.hot_queries import hot_queries
from tests.support.plans import Plan, explain

TRADES = 20_000


class Plans:
    """A database with rows, and the plans of the hot queries on it."""

    def __init__(self, url: str) -> None:
        """Fill a database at the first revision."""
        self._world = data.World(
            users=400, bots=2_000, running=100, period=TRADES, trades_per_day=200
        )
        self._url = url
        data.fill(url, self._world)
        data.fill_trades(url, self._world, 0, TRADES)
        self._plans = self._explain()

    def _explain(self) -> Mapping[str, Plan]:
        """Plan the queries that run on the present schema."""
        data.vacuum(self._url)
        found = {}
        with databases.sync_engine(self._url).connect() as connection:
            # What is not scanned from end to end, has an index.
            connection.execute(text("SET enable_seqscan = off"))
            connection.commit()
            for name, statement in hot_queries(self._world, TRADES).items():
                try:
                    found[name] = explain(connection, statement)
                except DBAPIError:
                    connection.rollback()
        return found

    def slowed_by(self, upgrade: Callable[[str], object]) -> set[str]:
        """Run a revision; name the queries that read more, or without an index, after it."""
        before = self._plans
        upgrade(self._url)
        self._plans = self._explain()
        return {
            name.partition(" ")[2].partition(",")[0]
            for name, plan in before.items()
            if name in self._plans and slower(plan, self._plans[name])
        }


def slower(before: Plan, after: Plan) -> bool:
    """Say whether a plan scans a table that the one before did not, or reads far more pages."""
    return bool(after.scanned - before.scanned) or after.buffers > 1.5 * before.buffers + 8
