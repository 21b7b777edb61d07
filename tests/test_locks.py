"""A revision's effects on live tables are declared in its docstring and break no rule.

Each revision is observed, up and down, on a database with rows in every table: see
``observation.py``, ``rules.py`` and ``rerun.py`` in ``tests/support/``. CONTRIBUTING.md describes
the lines of the docstring and the safe forms.
"""

from functools import cache

import pytest
from alembic.script import Script

from tests.support.generated_rows import FilledDatabases
from tests.support.history import SCRIPTS, each_revision, path
from tests.support.observed_revision import ObservedRevision


class Observed:
    """The revisions of the project, each observed once."""

    def __init__(self, filled_database: FilledDatabases) -> None:
        self.revision = cache(
            lambda name: ObservedRevision.of(SCRIPTS.get_revision(name), filled_database)
        )


@pytest.fixture(scope="module")
def observed(filled_database: FilledDatabases) -> Observed:
    """The revisions: ``observed.revision(name)``."""
    return Observed(filled_database)


@each_revision
def test_the_docstring_declares_the_locks_taken(revision: Script, observed: Observed) -> None:
    errors = observed.revision(revision.revision).wrong_locks()
    assert not errors, f"{path(revision)}: {errors}"


@each_revision
def test_the_upgrade_breaks_no_rule(revision: Script, observed: Observed) -> None:
    errors = observed.revision(revision.revision).broken_rules()
    assert not errors, f"{path(revision)}\n" + "\n\n".join(errors)


@each_revision
def test_changed_rows_are_declared(revision: Script, observed: Observed) -> None:
    errors = observed.revision(revision.revision).undeclared_changes()
    assert not errors, f"{path(revision)}: " + "\n".join(errors)
