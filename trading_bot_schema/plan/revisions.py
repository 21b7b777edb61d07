"""The revisions that would run, with the declarations of their docstrings."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from trading_bot_schema.docstrings import (
    DocstringError,
    line,
    lines,
    locks,
    losses,
    of,
    old_code,
    strongest,
)
from trading_bot_schema.migrator import Settings, alembic_internals
from trading_bot_schema.migrator.plan import newer_version, no_such_revision

HEADINGS = {"why": "Why", "locks": "Locks", "old_code": "Old code", "downgrade": "Downgrade"}


@dataclass(frozen=True)
class PendingRevision:
    """A revision that would run.

    Attributes:
        old_code: What the code of the previous revision can no longer do.
        tables: The strongest lock on each table that it locks.
        outside_transactions: Whether it has steps that cannot be undone, such as CREATE INDEX
            CONCURRENTLY.
        attempts: Number of attempts if it does not get its locks.
        lock_timeout: Milliseconds that each attempt waits for a lock; 0: no limit.
        unknown: Declarations that cannot be read, and why.
    """

    revision: str
    title: str
    why: str | None
    locks: str | None
    old_code: str | None
    downgrade: str | None
    tables: dict[str, str]
    outside_transactions: bool
    attempts: int
    lock_timeout: int
    unknown: list[str]


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
    except (AssertionError, CommandError, RevisionError) as error:
        raise no_such_revision(error) from error
    return [_described(script, revision, settings) for revision in reversed(revisions)]


def created_tables(config: Config, revisions: Sequence[PendingRevision]) -> list[str]:
    """Return the tables that revisions create in an empty database."""
    config.output_buffer = sql = StringIO()
    for revision in revisions[-1:]:
        command.upgrade(config, revision.revision, sql=True)
    return re.findall(r"^CREATE TABLE (?:public\.)?(\w+) ", sql.getvalue(), re.MULTILINE)


def strongest_locks(taken: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the strongest lock on each table, of pairs of a table and a lock on it."""
    by_table: dict[str, str] = {}
    for table, lock in taken:
        by_table[table] = strongest([by_table.get(table, lock), lock])
    return by_table


def _declared_locks(docstring: str) -> Iterator[tuple[str, str]]:
    for declared in locks(line(docstring, "Locks") or ""):
        yield from ((table, declared.lock) for table in declared.tables)


def _described(script: ScriptDirectory, revision: Script, settings: Settings) -> PendingRevision:
    step = MigrationStep.upgrade_from_script(script.revision_map, revision)
    own = settings.for_revision(alembic_internals.timeouts_of(step))
    docstring = of(revision)
    # Of a line that is repeated, the last one.
    declared = dict(lines(docstring))
    tables: dict[str, str] = {}
    unknown = []
    for what, read in (
        ("what it locks", lambda: tables.update(strongest_locks(_declared_locks(docstring)))),
        ("whether old code works", lambda: old_code(docstring)),
        ("what its downgrade loses", lambda: losses(docstring)),
    ):
        try:
            read()
        except DocstringError as error:
            unknown.append(f"{what}. {error}")
    return PendingRevision(
        revision=revision.revision,
        title=docstring.partition("\n\n")[0],
        **{name: declared.get(heading) for name, heading in HEADINGS.items()},
        tables=tables,
        outside_transactions=alembic_internals.uses_autocommit_block(step),
        attempts=own.lock_attempts,
        lock_timeout=own.lock_timeout,
        unknown=unknown,
    )
