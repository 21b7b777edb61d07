"""The comparison of the command ``drift``, without building the reference each time."""

from collections.abc import Set
from functools import cached_property

from sqlalchemy import make_url

from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import Catalogue, snapshot
from trading_bot_schema.drift.expected import differences_from


class ReferenceSchema:
    """The schema that the migrations build."""

    def __init__(self, migrated: str) -> None:
        """Take a database at the head revision."""
        self._url = make_url(migrated)
        self.catalogue = snapshot(migrated)

    @cached_property
    def restored(self) -> Catalogue:
        """The schema after a dump and a restore."""
        return scratch.restored(self._url, self.catalogue)

    def differences(self, live: Catalogue, ignored: Set[str] = frozenset()) -> str:
        """Return the differences of a database from this schema."""
        return differences_from(self.catalogue, live, ignored, lambda: self.restored)
