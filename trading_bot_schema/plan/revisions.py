"""The revisions that would run, with the declarations of their docstrings."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from alembic.runtime.migration import MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from trading_bot_schema.docstrings import DocstringError, line, locks, strongest
from trading_bot_schema.migrator import Settings, alembic_internals
from trading_bot_schema.migrator.plan import newer_version

HEADINGS = {"why": "Why", "locks": "Locks", "old_code": "Old code", "downgrade": "Downgrade"}


@dataclass(frozen=True)
class PendingRevision:
    """A revision that would run."""

    revision: str
    title: str
    why: str | None
    locks: str | None
    old_code: str | None
    """What the code of the previous revision can no longer do."""
    downgrade: str | None
    tables: dict[str, str]
    """The strongest lock on each table that it locks."""
    outside_transactions: bool
    """Whether it has steps that cannot be undone, such as CREATE INDEX CONCURRENTLY."""
    attempts: int
    """Number of attempts if it does not get its locks."""
    lock_timeout: int
    """Milliseconds that each attempt waits for a lock; 0: no limit."""
    unknown: str | None
    """Why the locks are not known, if they are not."""


def pending(
    script: ScriptDirectory, heads: Collection[str], target: str, settings: Settings
) -> list[PendingRevision]:
    """Return the revisions that an upgrade from ``heads`` to ``target`` would run, in order.

    Raises:
        CommandError: A revision is not among the migrations.
    """
    if newer := newer_version(heads, script):
        raise CommandError(f"{newer} Deploy that version.")
    try:
        revisions = list(
            script.iterate_revisions(target, tuple(heads) or "base", implicit_base=True)
        )
    except AssertionError as error:  # such as ``head+1``, or an empty one
        raise CommandError("There is no such revision. `history` lists the revisions.") from error
    except (CommandError, RevisionError) as error:
        raise CommandError(f"{error}. `history` lists the revisions.") from error
    return [_described(script, revision, settings) for revision in reversed(revisions)]


def strongest_locks(revisions: Iterable[PendingRevision]) -> dict[str, str]:
    """Return the strongest lock that the revisions take on each table."""
    return _strongest_by_table(item for revision in revisions for item in revision.tables.items())


def _strongest_by_table(locks: Iterable[tuple[str, str]]) -> dict[str, str]:
    by_table: dict[str, str] = {}
    for table, lock in locks:
        by_table[table] = strongest([by_table.get(table, lock), lock])
    return by_table


def _described(script: ScriptDirectory, revision: Script, settings: Settings) -> PendingRevision:
    step = MigrationStep.upgrade_from_script(script.revision_map, revision)
    own = settings.for_revision(alembic_internals.timeouts_of(step))
    lines = {name: line(revision.longdoc, heading) for name, heading in HEADINGS.items()}
    tables: dict[str, str] = {}
    unknown = None if lines["locks"] else "the docstring has no line 'Locks:'"
    try:
        tables = _strongest_by_table(
            (table, declared.lock)
            for declared in locks(lines["locks"] or "none")
            for table in declared.tables
        )
    except DocstringError as error:
        unknown = str(error)
    return PendingRevision(
        revision=revision.revision,
        title=revision.doc,
        **lines,
        tables=tables,
        outside_transactions=alembic_internals.uses_autocommit_block(step),
        attempts=own.lock_attempts,
        lock_timeout=own.lock_timeout,
        unknown=unknown,
    )
