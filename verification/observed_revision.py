"""Observes a revision: the effects of its upgrade and downgrade, and their errors."""

from functools import cached_property

from alembic.script import Script
from sqlalchemy import Connection

from trading_bot_schema.docstrings import DocstringError
from verification import rows
from verification.content import changed_rows, content, shared
from verification.history import Databases
from verification.lines import WrongLine, corrected
from verification.lock_lines import check_downgrade, check_upgrade
from verification.observation import Observation, observe
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
    def _url(self) -> str:
        """The database on which the upgrade is observed."""
        return self._start()

    @cached_property
    def upgrade(self) -> Observation:
        """The effects of the upgrade."""
        return observe(self._url, self._upgrade, self._project)

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
            old, new = content(url, versions=True), content(self._url, versions=True)
            originals = changed_rows(shared(old, new), shared(new, old))
            originals = {table: key for table, key in originals.items() if table in changed}
            try:
                rows.grow(url, originals, MANY_ROWS, self._url)
                broken = violations(observe(url, self._upgrade, self._project))
            except Exception as error:  # of any driver, or of code that reads the rows
                if not changed <= {t for v in broken if v.rule == "every-row" for t in v.tables}:
                    raise rows.refused(self._project, self._script, error) from error
        rerun = rerun_violations(self.upgrade, self._upgrade, self._url, self._start)
        return [*broken, *rerun]

    def broken_rules(self) -> list[str]:
        """Return the rules that the upgrade breaks, with the safe forms."""
        violations = self._violations()
        try:
            return [*unexcused(self.docstring, violations)]
        except DocstringError as error:
            return [f"The docstring's line Accepts: {error}"]

    def wrong_locks(self) -> list[WrongLine]:
        """Return the errors in the docstring's lines on locks."""
        wrong = check_upgrade(self.docstring, self.upgrade)
        # The downgrade is compared with the line that the upgrade should have.
        return wrong + check_downgrade(corrected(self.docstring, wrong), self.downgrade)
