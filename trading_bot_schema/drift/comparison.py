"""Compares a live database with the schema that the migrations build at its revision."""

from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL

from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import Catalogue, differences, snapshot
from trading_bot_schema.drift.expected import as_migrated, comparable
from trading_bot_schema.migrator.plan import newer_version

SIDES = ("migrations", "database")


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison."""

    revisions: Collection[str]
    """The revisions of the database, from ``alembic_version``."""
    differences: str
    """A report by object; empty if there are none."""
    unknown: Set[str]
    """Tables that could not be compared, as the role may not read them."""


def compare(url: URL, elsewhere: URL | None, ignored: Set[str] = frozenset()) -> Comparison:
    """Compare a database, which is only read, with the migrations at its revision.

    Args:
        url: The database.
        elsewhere: The server to build on; by default an embedded one, started for it.
        ignored: Kinds of differences not to report, see
            :data:`~trading_bot_schema.drift.expected.IGNORABLE`.

    Raises:
        CommandError: They cannot be compared. The message says why.
    """
    live = snapshot(url)
    script = ScriptDirectory.from_config(alembic_config())
    if newer := newer_version(live.revisions or [], script):
        raise CommandError(f"{newer} Run this with that version.")
    with scratch.server(live.server, elsewhere) as server, built(server, live) as reference:
        report = differences_from(reference, live, ignored, lambda: _restored(server, reference))
    return Comparison(
        revisions=live.revisions or ["base"],
        differences=report,
        unknown={".".join(table) for table in live.unreadable},
    )


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


def _restored(server: URL, reference: Catalogue) -> Catalogue:
    with scratch.database(server) as url:
        scratch.restore(url, reference.objects)
        return snapshot(url)
