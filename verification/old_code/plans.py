"""Compares the plans of hot queries before and after revisions, on a table of realistic size."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Self

from sqlalchemy import make_url, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from tests.support import data
from tests.support.hot_queries import hot_queries
from verification import databases
from verification.plans import Plan, explain
from verification.roles import as_role

TRADES = 20_000


class Plans:
    """A database with rows, and the plans of the hot queries on it."""

    def __init__(self, url: str) -> None:
        """Fill a database."""
        self._dataset = data.Dataset(
            users=400, bots=2_000, running=100, period=TRADES, trades_per_day=200
        )
        self.url = url
        data.fill(as_role(url), self._dataset)
        data.fill_trades(as_role(url), self._dataset, 0, TRADES)
        # All running bots are due, however long the revisions take.
        with databases.sync_engine(as_role(url)).begin() as connection:
            connection.execute(text("UPDATE bot_states SET last_run_at = '2000-01-01Z'"))
        self._plans = self._explain()

    def copy(self, make_database: Callable[[str], str]) -> Self:
        """Return the same plans, on a copy of the database."""
        other = copy(self)
        other.url = make_database(str(make_url(self.url).database))
        return other

    def _explain(self) -> Mapping[str, Plan]:
        """Plan the queries that run on the current schema."""
        data.vacuum(as_role(self.url))
        plans = {}
        with databases.sync_engine(self.url).connect() as connection:
            # A table is then scanned sequentially only if no index can be used.
            connection.execute(text("SET enable_seqscan = off"))
            connection.commit()
            for name, statement in hot_queries(self._dataset, TRADES).items():
                try:
                    plans[name] = explain(connection, statement)
                except DBAPIError:
                    connection.rollback()
        return plans

    def slowed_by(self, upgrade: Callable[[str], object]) -> set[str]:
        """Run a revision; return the queries that then read more, or without an index.

        Empty if the revision does not run with these rows.
        """
        before = self._plans
        try:
            upgrade(self.url)
        except (DataError, IntegrityError):
            return set()
        self._plans = self._explain()
        return {
            name.partition(" ")[2].partition(",")[0]
            for name, plan in before.items()
            if name in self._plans and slower(plan, self._plans[name])
        }


def slower(before: Plan, after: Plan) -> bool:
    """Return whether a plan scans another table, or reads many more pages, than the earlier."""
    return bool(after.scanned - before.scanned) or after.buffers > 1.5 * before.buffers + 8
