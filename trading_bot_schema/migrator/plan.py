"""The revisions that an Alembic command has yet to run."""

import logging
import time
from collections.abc import Collection, Iterator

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import inspect

from trading_bot_schema.migrator import alembic_internals, guards
from trading_bot_schema.migrator.lock import check_lock
from trading_bot_schema.migrator.session import restore, settings_of
from trading_bot_schema.migrator.settings import Settings
from trading_bot_schema.url import SCHEMA

log = logging.getLogger("alembic.migrator")


class Plan:
    """The revisions that a command has yet to run.

    Computed once: a retry must not count ``-1`` or ``+2`` from where the first attempt ended.
    """

    def __init__(
        self,
        migration: MigrationContext,
        script: ScriptDirectory,
        settings: Settings,
        tables: Collection[str] = (),
    ) -> None:
        """Plan the command for which ``migration`` was configured; ``script`` has the revisions.

        ``tables`` are those that the application needs.

        In a transaction that the caller has begun, every step has to run within it.
        """
        connection = migration.connection
        self._in_callers_transaction = connection is not None and connection.in_transaction()
        self.script = script
        self._settings = settings
        self._tables = tables
        self._upgrades_to_head = alembic_internals.upgrades_to_head(migration, script)
        self.remaining: list[RevisionStep] = []
        self._steps_of_command = alembic_internals.steps_of_command(migration)
        self._decided = False
        self._has_old_code = False
        self.reads_only = alembic_internals.reads_only(migration)
        self.options = alembic_internals.options(self._run, self.reads_only)
        """Options for :func:`alembic.context.configure` that run the command by this plan."""

    def settings(self) -> Settings:
        """Return the settings of the current step; thread-safe."""
        for step in self.remaining[:1]:
            return self._settings_for(step)
        return self._settings

    @property
    def prefix(self) -> str:
        """The current step, as the start of a message."""
        return _prefix(self.remaining[0]) if self.remaining else ""

    @property
    def fields(self) -> dict[str, object]:
        """The current step, as fields of a JSON log record."""
        if not self.remaining:
            return {}
        info = self.remaining[0].info
        direction = "upgrade" if info.is_upgrade else "downgrade"
        return {
            "revision": info.up_revision_id,
            "direction": "stamp" if info.is_stamp else direction,
        }

    @property
    def partial_effects(self) -> str:
        """What remains of a failed revision, as a sentence; empty: nothing."""
        if self.remaining and alembic_internals.uses_autocommit_block(self.remaining[0]):
            return (
                "What it did outside of a transaction remains, such as an index that was built in"
                " part, which is marked invalid; the next run builds it again."
            )
        return ""

    def _settings_for(self, step: RevisionStep) -> Settings:
        try:
            return self._settings.for_revision(alembic_internals.timeouts_of(step))
        except CommandError as error:
            raise CommandError(f"{_prefix(step)}{error}") from None

    def _run(self, heads: tuple[str, ...], migration: MigrationContext) -> Iterator[RevisionStep]:
        if not self._decided:
            self._decide(heads, migration)
            self._decided = True
        while self.remaining:
            if self._has_old_code:
                guards.warn_of_contract(self.remaining[0])
            connection, settings = migration.connection, {}
            if connection is not None:
                check_lock(connection)
                settings = settings_of(connection)
            fields = self.fields
            log.info("Running %s", self.remaining[0], extra=fields | {"event": "started"})
            started = time.monotonic()
            yield self.remaining[0]
            # Alembic requests the next one when this one is committed.
            seconds = round(time.monotonic() - started, 3)
            log.info(
                "Done in %.2f s", seconds, extra=fields | {"event": "done", "seconds": seconds}
            )
            if (
                connection is not None
                and restore(connection, settings)
                and not self._in_callers_transaction
            ):
                connection.commit()
            del self.remaining[0]

    def _decide(self, heads: tuple[str, ...], migration: MigrationContext) -> None:
        if self._is_ahead(heads, migration):
            return
        try:
            self.remaining.extend(self._steps_of_command(heads, migration))
        except (AssertionError, CommandError) as error:
            if isinstance(error, CommandError) and not isinstance(
                error.__cause__, ResolutionError
            ):
                raise
            raise no_such_revision(error) from error
        self._has_old_code = bool(heads)  # Otherwise, there are no tables.
        if self._has_old_code and self._settings.contract == "refuse":
            self.remaining[:] = guards.before_contract(self.remaining)
        for step in self.remaining:
            self._settings_for(step)
            if self._in_callers_transaction and alembic_internals.uses_autocommit_block(step):
                raise CommandError(
                    f"{_prefix(step)}this revision has steps that cannot be undone, such as CREATE"
                    " INDEX CONCURRENTLY, so it does not run in a transaction that its caller has"
                    " begun. Pass an engine, or a connection before its first statement."
                )
        if migration.connection is not None:
            guards.check(migration.connection, self.remaining, self._settings)

    def _is_ahead(self, heads: tuple[str, ...], migration: MigrationContext) -> bool:
        """Return whether a newer version has migrated the database, and ``ahead`` accepts that."""
        newer = newer_version(heads, self.script)
        if not newer:
            return False
        if self._upgrades_to_head and self._settings.ahead == "accept":
            existing = inspect(migration.connection).get_table_names(SCHEMA)
            if missing := sorted(set(self._tables) - set(existing)):
                raise CommandError(
                    f"The database is at revision {', '.join(heads)}, which is not among the"
                    f" migrations here, and has no table {', '.join(missing)}: it is another"
                    " project's, so ahead=accept does not accept it. Correct DATABASE_URL."
                )
            log.warning(
                "%s Nothing is done, as ahead=accept says.",
                newer,
                extra={"event": "ahead", "revision": ", ".join(heads)},
            )
            return True
        raise CommandError(
            f"{newer} Deploy that version, or downgrade with it first. Where this version of the"
            " application works with it, `-x ahead=accept upgrade head` exits 0."
        )


def no_such_revision(error: Exception) -> CommandError:
    """Return the error for a revision that Alembic does not find."""
    # An assertion fails for ``head+1`` and for an empty one.
    what = "There is no such revision" if isinstance(error, AssertionError) else error
    return CommandError(f"{what}. `alembic history` lists the revisions.")


def newer_version(heads: Collection[str], script: ScriptDirectory) -> str:
    """Return a sentence on the first revision that is not among the migrations here, if any.

    Raises:
        CommandError: One revision of the database includes another.
    """
    for revision in heads:
        try:
            script.get_revision(revision)
        except CommandError:
            return (
                f"The database is at revision {revision}, which is not among the migrations here,"
                f" whose head is {', '.join(script.get_heads())}: a newer version of the code has"
                " migrated it."
            )
    for head in heads if len(heads) > 1 else ():
        for ancestor in script.iterate_revisions(head, "base"):
            if ancestor.revision != head and ancestor.revision in heads:
                raise CommandError(
                    f"alembic_version has a row for {head}, and one for {ancestor.revision}, which"
                    f" comes before it and is superfluous. Remove it with `alembic stamp --purge"
                    f" {head}`; `drift` then tells whether the database is at that revision."
                )
    return ""


def _prefix(step: RevisionStep) -> str:
    return f"In {str(step).removesuffix('.')}: "
