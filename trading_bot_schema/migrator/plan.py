"""The revisions that an Alembic command has still to run."""

import logging
import time
from collections.abc import Iterable, Iterator

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError

from trading_bot_schema.migrator import alembic_internals

log = logging.getLogger("alembic.migrator")


class Plan:
    """The revisions that a command has still to run.

    Decided once: a second attempt must not count ``-1`` or ``+2`` from where the first one ended.
    """

    def __init__(self, migration: MigrationContext, script: ScriptDirectory) -> None:
        """Plan the command that ``migration`` was configured for; ``script`` has the revisions.

        In a transaction that the caller has begun, every step has to run within it.
        """
        connection = migration.connection
        self._in_callers_transaction = connection is not None and connection.in_transaction()
        self.script = script
        self.remaining: list[RevisionStep] = []
        self._steps_of_command = alembic_internals.steps_of_command(migration)
        self._decided = False
        self.reads_only = alembic_internals.reads_only(migration)
        self.options = alembic_internals.options(self._run, self.reads_only)
        """Options for :func:`alembic.context.configure` that run the command by this plan."""

    def _run(self, heads: tuple[str, ...], migration: MigrationContext) -> Iterator[RevisionStep]:
        if not self._decided:
            self._decide(heads, migration)
        while self.remaining:
            log.info("Running %s", self.remaining[0])
            started = time.monotonic()
            yield self.remaining[0]
            # Alembic asks for the next one when this one is committed.
            log.info("Done in %.2f s", time.monotonic() - started)
            del self.remaining[0]

    def _decide(self, heads: tuple[str, ...], migration: MigrationContext) -> None:
        check_known(heads, self.script)
        try:
            self.remaining.extend(self._steps_of_command(heads, migration))
        except AssertionError as error:  # such as ``head+1``, or nothing at all
            raise CommandError(
                "There is no such revision. `alembic history` lists the revisions."
            ) from error
        except CommandError as error:
            if isinstance(error.__cause__, ResolutionError):
                raise CommandError(f"{error}. `alembic history` lists the revisions.") from error
            raise
        if self._in_callers_transaction:
            for step in self.remaining:
                _check_transactional(step)
        self._decided = True


def check_known(heads: Iterable[str], script: ScriptDirectory) -> None:
    """Check that the revisions of a database are among the migrations.

    Raises:
        CommandError: One is not.
    """
    for head in heads:
        try:
            script.get_revision(head)
        except CommandError:
            raise CommandError(
                f"The database is at revision {head}, which is not among the migrations here."
                " Deploy the version of the code that has it; or, if the tables are those of a"
                " revision that is here, record that with `alembic stamp --purge REVISION`."
            ) from None


def _check_transactional(step: RevisionStep) -> None:
    if alembic_internals.uses_autocommit_block(step):
        raise CommandError(
            f"In {step}: this revision has steps that cannot be undone, such as CREATE INDEX"
            " CONCURRENTLY, so it does not run in a transaction that its caller has begun. Pass an"
            " engine, or a connection before its first statement."
        )
