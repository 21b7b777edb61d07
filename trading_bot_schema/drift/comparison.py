"""Compares a live database with the schema that the migrations build at its revision."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from sqlalchemy import URL

from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import Catalogue, differences, snapshot
from trading_bot_schema.drift.expected import as_migrated, comparable

SIDES = ("migrations", "database")


def differences_from(
    reference: Catalogue, live: Catalogue, ignored: Set[str], restored: Callable[[], Catalogue]
) -> str:
    """Return the differences of a database from a reference; empty if there are none.

    ``restored`` returns the reference after a dump and a restore. It is called only if there are
    differences without it.
    """
    expected, actual = comparable(reference, live, ignored)
    if report := differences(expected, actual, SIDES, None, {}):
        as_restored, _ = comparable(restored(), live, ignored)
        actual = as_migrated(expected, as_restored, actual)
        report = differences(expected, actual, SIDES, None, {})
    return report


@contextmanager
def built(server: URL, like: Catalogue) -> Iterator[Catalogue]:
    """Yield the schema that the migrations build at a database's revision, in a new database."""
    with scratch.database(server) as url:
        if like.revisions is not None:
            scratch.migrate(url, like.revisions)
        yield snapshot(url, without=like.unreadable)


def restored(server: URL, reference: Catalogue) -> Catalogue:
    """Return a schema after a dump and a restore into a new database."""
    with scratch.database(server) as url:
        scratch.restore(url, reference.objects)
        return snapshot(url)
