"""Old code runs on the new schema, except for what the revision's docstring declares.

``Old code: works.`` in the docstring of a revision declares that the code of the previous revision
continues to work; ``Old code: fails once: trades.`` that prepared statements fail at most once on
each open connection; ``Old code: breaks: insert into users, select users.nickname.`` what fails
until the new code is deployed. It must equal what is measured here.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.script import Script

from tests.support import changes
from tests.support.changes import CHANGES
from trading_bot_schema.docstrings import OldCode
from verification import old_code
from verification.databases import ROOT
from verification.history import HEAD, each_revision
from verification.old_code.line import advice, declared
from verification.roles import RoleDatabases
from verification.rows import FilledDatabases


@each_revision
def test_old_code_on_the_new_schema(
    revision: Script, owned_database: FilledDatabases, role_databases: RoleDatabases
) -> None:
    observed = old_code.of_revision(revision, role_databases, owned_database)
    line = declared(revision)
    # Slower queries are compared in tests/test_old_plans.py.
    observed = replace(observed, slows=line.slows if line else frozenset())
    assert line == observed, advice(revision, observed)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("add a NOT NULL column with a default", "works."),
        (
            "drop a column",
            "breaks: insert into api_keys, select api_keys.label, update api_keys.label.",
        ),
        (
            "tighten a CHECK, NOT VALID",
            "breaks: insert into bot_configs, rows of bot_configs, update bot_configs.timeframe.",
        ),
    ],
)
def test_the_outcome_of_a_change(
    title: str, expected: str, owned_database: FilledDatabases, role_databases: RoleDatabases
) -> None:
    (change,) = (change for change in CHANGES if change.title == title)
    observed = old_code.observe(
        role_databases,
        lambda: owned_database.at(HEAD),
        lambda url: changes.apply(url, change, role_databases.app),
    )
    assert str(observed) == expected


@pytest.mark.parametrize(
    ("line", "works"),
    [
        ("Old code: works.", True),
        ("Old code: works. It reads no comments.", True),
        ("Old code: breaks: select users.email.", False),
        ("Old code: fails once: users.", False),
        ("Old code: fine.", False),
        ("", False),
    ],
)
def test_the_line_must_be_exact(line: str, works: bool) -> None:
    revision: Any = SimpleNamespace(longdoc=f"A probe.\n\n{line}\n", path=str(ROOT / "probe.py"))
    assert (declared(revision) == OldCode()) == works
    assert "\n\nOld code: works.\n" in advice(revision, OldCode())
