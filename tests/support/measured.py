"""Runs revisions in turn while an application is connected, and measures their effects."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

import psycopg
from sqlalchemy import make_url

from tests.support.application import ALWAYS, NO_EFFECT, ONCE, Application
from tests.support.operations import OPERATIONS, Effect, Operation
from tests.support.probe_revisions import Revisions
from verification.history import HEAD
from verification.lock_lines import named_locks
from verification.observed_revision import ObservedRevision
from verification.recipes import GUIDE
from verification.rows import FilledDatabases

WORST = (NO_EFFECT, ONCE, ALWAYS)
FILL_NULLS = "UPDATE trades SET commission_asset = '' WHERE commission_asset IS NULL"
PREPARED = {
    "Make a column NOT NULL": FILL_NULLS,
    "Make a column NOT NULL, on PostgreSQL 18": FILL_NULLS,
}
"""By title, the preparation before a recipe's first revision, or before the dangerous form."""


class Measured:
    """A form of an operation, run revision by revision while an application is connected."""

    def __init__(
        self,
        upgrades: Iterable[str],
        revisions: Revisions,
        filled: FilledDatabases,
        prepared: str = "",
        without: Collection[str] = (),
    ) -> None:
        """Run the revisions.

        Args:
            upgrades: The upgrades, as :meth:`Revisions.add` takes them.
            revisions: Where to add them.
            filled: Databases with rows.
            prepared: A statement to run before the first of them.
            without: Tables and columns that the application does not use.
        """
        self.locks: list[str] = []
        self.application = NO_EFFECT
        self.observed: list[ObservedRevision] = []
        self.url = filled.at(HEAD)
        """The database after the last revision."""
        if prepared:
            with psycopg.connect(self.url) as connection:
                connection.execute(prepared)
        for number, upgrade in enumerate(upgrades, start=1):
            name = f"probe{number}"
            revisions.add(name, upgrade)
            copy = partial(filled.make, str(make_url(self.url).database))
            first = copy()
            start = partial(_first_or_copy, iter([first]), copy)
            observed = ObservedRevision(name, "", start, config=lambda: revisions.config)
            with Application(first, without) as application:
                self.locks.append(named_locks(observed.upgrade))
                self.application = max(self.application, application.outcome(), key=WORST.index)
            self.observed.append(observed)
            self.url = first

    @property
    def effect(self) -> Effect:
        """Its effect, as in the table."""
        if len(self.locks) == 1:
            return [self.locks[0], self.application]
        numbered = (f"{number}. {locks}" for number, locks in enumerate(self.locks, start=1))
        return ["<br>".join(numbered), self.application]

    def broken_rules(self) -> list[str]:
        """Return the rules that the revisions break."""
        return [text for observed in self.observed for text in observed.broken_rules()]


def _first_or_copy(first: Iterator[str], copy: Callable[[], str]) -> str:
    return next(first, None) or copy()


def measure_recipe(title: str, revisions: Revisions, filled: FilledDatabases) -> Measured:
    """Run a recipe of the guide."""
    without = {name for each in OPERATIONS if each.safe == title for name in each.deployed_without}
    return Measured(GUIDE[title].revisions, revisions, filled, PREPARED.get(title, ""), without)


def measure_dangerous(
    operation: Operation, revisions: Revisions, filled: FilledDatabases
) -> Measured:
    """Run the dangerous form of an operation."""
    return Measured([operation.dangerous], revisions, filled, PREPARED.get(operation.safe, ""))
