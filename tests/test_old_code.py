"""Old code runs on the new schema, unless the docstring of the revision says what does not.

``Old code: works.`` in the docstring of a revision says that the code of the revision before it
goes on to work; ``Old code: fails once: trades.`` that prepared statements fail once on each open
connection at most; ``Old code: breaks: insert into users, select users.nickname.`` what fails
until the new code is deployed. It is neither more nor less than what is found here.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.script import Script

from tests.support import changes, databases, history, old_code
from tests.support.changes import CHANGES, Change
from tests.support.databases import ROOT
from tests.support.generated_rows import FilledDatabases
from tests.support.history import HEAD, each_revision
from tests.support.old_code.line import advice, declared
from tests.support.roles import RoleDatabases
from trading_bot_schema.docstrings import OldCode


@each_revision
def test_old_code_on_the_new_schema(
    revision: Script, owned_database: FilledDatabases, role_databases: RoleDatabases
) -> None:
    found = old_code.what_happens(
        role_databases,
        lambda: owned_database.at(history.before(revision)),
        lambda url: databases.migrate(url, revision.revision),
    )
    said = declared(revision)
    # tests/test_old_plans.py finds what it slows.
    found = replace(found, slows=said.slows if said else frozenset())
    assert said == found, advice(revision, found)


def made(change: Change, owned_database: FilledDatabases, role_databases: RoleDatabases) -> str:
    """Make a change at the head revision, and return what becomes of old code."""
    found = old_code.what_happens(
        role_databases,
        lambda: owned_database.at(str(HEAD)),
        lambda url: changes.make(url, change, role_databases.app),
    )
    return str(found)


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
            "breaks: insert into trades, rows of trades, update trades.order_type.",
        ),
    ],
)
def test_a_change_is_judged_by_what_it_does(
    title: str, expected: str, owned_database: FilledDatabases, role_databases: RoleDatabases
) -> None:
    (change,) = (change for change in CHANGES if change.title == title)
    assert made(change, owned_database, role_databases) == expected


@pytest.mark.parametrize(
    ("said", "works"),
    [
        ("Old code: works.", True),
        ("Old code: works. It reads no comments.", True),
        ("Old code: breaks: select users.email.", False),
        ("Old code: fails once: users.", False),
        ("Old code: fine.", False),
        ("", False),
    ],
)
def test_the_line_says_neither_more_nor_less(said: str, works: bool) -> None:
    revision: Any = SimpleNamespace(longdoc=f"A probe.\n\n{said}\n", path=str(ROOT / "probe.py"))
    assert (declared(revision) == OldCode()) == works
    assert "\n\nOld code: works.\n" in advice(revision, OldCode())
