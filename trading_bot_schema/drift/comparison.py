"""A live database, compared with what the migrations build at its revision."""

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
from trading_bot_schema.migrator.plan import is_known

SIDES = ("migrations", "database")


@dataclass(frozen=True)
class Comparison:
    """What a database differs in."""

    revisions: Collection[str]
    """Where the database is, according to ``alembic_version``."""
    differences: str
    """A report, object by object; empty if there are none."""
    unknown: Set[str]
    """Tables that could not be compared, as the role may not read them."""


def compare(url: URL, elsewhere: URL | None, ignored: Set[str] = frozenset()) -> Comparison:
    """Compare a database, which is only read, with what the migrations build at its revision.

    Args:
        url: The database.
        elsewhere: The server to build on; by default an embedded one, started for it.
        ignored: Names of what is not to be reported, see
            :data:`~trading_bot_schema.drift.expected.IGNORABLE`.

    Raises:
        CommandError: They cannot be compared. The message says why.
    """
    live = snapshot(url)
    script = ScriptDirectory.from_config(alembic_config())
    for revision in live.revisions or []:
        if not is_known(revision, script):
            raise CommandError(
                f"The database is at revision {revision}, which is not among the migrations here:"
                " a newer version of the code has migrated it. Run this with that version."
            )
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
    """Say how a database differs from a reference; nothing if it does not.

    ``restored`` returns the reference as it is after a dump and a restore. It is asked only if
    there are differences without it.
    """
    wanted, found = comparable(reference, live, ignored)
    if report := differences(wanted, found, SIDES, None, {}):
        as_restored, _ = comparable(restored(), live, ignored)
        found = as_migrated(wanted, as_restored, found)
        report = differences(wanted, found, SIDES, None, {})
    return report


@contextmanager
def built(server: URL, like: Catalogue) -> Iterator[Catalogue]:
    """Yield what the migrations build at the revision of a database, in a database of its own."""
    with scratch.database(server) as url:
        if like.revisions is not None:
            scratch.migrate(url, like.revisions)
        yield snapshot(url, without=like.unreadable)


def _restored(server: URL, reference: Catalogue) -> Catalogue:
    with scratch.database(server) as url:
        scratch.restore(url, reference.objects)
        return snapshot(url)
