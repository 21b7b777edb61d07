"""Observes a revision: the effects of its upgrade and downgrade, and their errors."""

from functools import cached_property

from alembic.script import Script
from sqlalchemy import Connection

from trading_bot_schema.docstrings import DocstringError, names
from verification import rows
from verification.content import changed_rows, content, shared
from verification.history import Databases
from verification.lines import WrongLine, corrected
from verification.lock_lines import check_downgrade, check_upgrade
from verification.observation import Observation, observe, unknown_changes
from verification.rerun import rerun_violations
from verification.rules import Violation, unexcused, violations

MANY_ROWS = 20_000
"""Rows of a large table: more than a revision may change in one transaction."""


class ObservedRevision:
    """The effects of a revision on tables with rows, observed on first access."""

    def __init__(self, databases: Databases, script: Script) -> None:
        """Take the databases, and the revision."""
        self.docstring = script.longdoc
        self._databases, self._script, self._project = databases, script, databases.project

    def _start(self) -> str:
        return self._databases.before(self._script)

    def _upgrade(self, connection: Connection) -> None:
        self._project.migrate(connection, self._script.revision)

    @cached_property
    def _upgraded(self) -> tuple[str, Observation]:
        url = self._start()
        return url, observe(url, self._upgrade, self._project)

    @property
    def url(self) -> str:
        """The database that was upgraded."""
        return self._upgraded[0]

    @property
    def upgrade(self) -> Observation:
        """The effects of the upgrade."""
        return self._upgraded[1]

    @cached_property
    def downgrade(self) -> Observation:
        """The effects of the downgrade."""
        url = self._databases.after(self._script)
        project = self._project
        return observe(url, lambda c: project.downgrade(c, self._script), project)

    def _violations(self) -> list[Violation]:
        broken = violations(self.upgrade)
        changed = {t for s in self.upgrade.statements for t in s.updated + s.deleted}
        if changed:
            # On a small table, a batch of some thousands is every row; and in a large one, all
            # rows may be like the one that a condition spares the others for here.
            url = self._start()
            old, new = content(url, versions=True), content(self.url, versions=True)
            originals = changed_rows(shared(old, new), shared(new, old))
            originals = {table: key for table, key in originals.items() if table in changed}
            try:
                rows.grow(url, originals, MANY_ROWS, self.url)
                broken = violations(observe(url, self._upgrade, self._project))
            except Exception as error:  # of any driver, or of code that reads the rows
                if not changed <= {t for v in broken if v.rule == "every-row" for t in v.tables}:
                    raise rows.refused(self._project, self._script, error) from error
        rerun = rerun_violations(self.upgrade, self._upgrade, self.url, self._start)
        return [*broken, *rerun]

    def broken_rules(self) -> list[str]:
        """Return the rules that the upgrade breaks, with the safe forms."""
        violations = self._violations()
        try:
            return unexcused(self.docstring, violations)
        except DocstringError as error:
            return [f"The docstring's line Accepts: {error}"]

    def wrong_locks(self) -> list[WrongLine]:
        """Return the errors in the docstring's lines on locks."""
        wrong = check_upgrade(self.docstring, self.upgrade)
        # The downgrade is compared with the line that the upgrade should have.
        return wrong + check_downgrade(corrected(self.docstring, wrong), self.downgrade)

    def undeclared_changes(self, docstring: str) -> list[str]:
        """Return the changes of rows of existing tables that a docstring does not declare."""
        changes = names(docstring, "Upgrade", "changes")
        loses = names(docstring, "Upgrade", "loses")
        undeclared = [
            f"{statement.short}: changes no row here, so its effect is unknown. Add a row that it"
            f" changes to {self._project.rows_file}."
            for statement in unknown_changes(self.upgrade)
        ]
        for table in self.upgrade.rows:
            updated = sum(s.updated[table] for s in self.upgrade.statements)
            deleted = sum(s.deleted[table] for s in self.upgrade.statements)
            emptied = any(table in s.emptied for s in self.upgrade.statements)
            if updated and not _names(table, changes):
                undeclared.append(
                    f"The upgrade updates {updated} of the {self.upgrade.rows[table]} rows of"
                    f" {table}. Declare the columns in the docstring: Upgrade: changes"
                    f" {table}.<column>."
                )
            if (deleted or emptied) and not _names(table, loses):
                undeclared.append(
                    f"The upgrade deletes {deleted or 'all'} of the {self.upgrade.rows[table]}"
                    f" rows of {table}. Declare it in the docstring: Upgrade: loses {table}."
                )
        return undeclared


def _names(table: str, declared: set[str]) -> bool:
    """Return whether a line names a table or a column of it."""
    return any(name == table or name.startswith(f"{table}.") for name in declared)
