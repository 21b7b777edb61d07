"""The comparison of the command ``drift``, without building the reference each time."""

from collections.abc import Callable, Set
from functools import cached_property

from sqlalchemy import make_url

from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import Catalogue, snapshot
from trading_bot_schema.drift.expected import differences_from


class ReferenceSchema:
    """The schema that the migrations build."""

    def __init__(self, make_database: Callable[[], str], migrated: str) -> None:
        """Take the fixture that creates databases, and a database at the head revision."""
        self._make = make_database
        self.catalogue = snapshot(migrated)

    @cached_property
    def restored(self) -> Catalogue:
        """The schema after a dump and a restore."""
        url = self._make()
        scratch.restore(make_url(url), self.catalogue.objects)
        return snapshot(url)

    def differences(self, live: Catalogue, ignored: Set[str] = frozenset()) -> str:
        """Return the differences of a database from this schema."""
        return differences_from(self.catalogue, live, ignored, lambda: self.restored)
