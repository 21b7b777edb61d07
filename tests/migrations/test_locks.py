"""A revision's effects on live tables are declared in its docstring and break no rule.

Each revision is observed, up and down, on a database with rows in every table: see
``observation.py``, ``rules.py`` and ``rerun.py`` in ``tests/support/``. CONTRIBUTING.md describes
the lines of the docstring and the safe forms.
"""

from collections.abc import Callable
from functools import cache

import pytest
from alembic.script import Script

from verification.history import each_revision, path
from verification.observed_revision import ObservedRevision
from verification.rows import FilledDatabases

Observe = Callable[[Script], ObservedRevision]


@pytest.fixture(scope="module")
def observed(filled_database: FilledDatabases) -> Observe:
    """Observe a revision of the project, once: ``observed(revision)``."""
    return cache(lambda revision: ObservedRevision.of(revision, filled_database))


@each_revision
def test_the_docstring_declares_the_locks_taken(revision: Script, observed: Observe) -> None:
    errors = observed(revision).wrong_locks()
    assert not errors, f"{path(revision)}: {errors}"


@each_revision
def test_the_upgrade_breaks_no_rule(revision: Script, observed: Observe) -> None:
    errors = observed(revision).broken_rules()
    assert not errors, f"{path(revision)}\n" + "\n\n".join(errors)


@each_revision
def test_changed_rows_are_declared(revision: Script, observed: Observe) -> None:
    errors = observed(revision).undeclared_changes()
    assert not errors, f"{path(revision)}: " + "\n".join(errors)
