"""How old code runs on the new schema is observed, and the line to paste is right."""

import pytest

from tests.support import changes
from tests.support.changes import CHANGES
from tests.trading_bot import HEAD
from trading_bot_schema.docstrings import OldCode
from verification import Databases, old_code
from verification.old_code.line import advice, declared


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
def test_the_outcome_of_a_change(title: str, expected: str, owned_databases: Databases) -> None:
    (change,) = (change for change in CHANGES if change.title == title)
    observed = old_code.observe(
        owned_databases,
        lambda: owned_databases.filled(HEAD),
        lambda url: changes.apply(url, change, owned_databases.app),
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
    docstring = f"A probe.\n\n{line}\n"
    assert (declared(docstring) == OldCode()) == works
    assert "\n\nOld code: works.\n" in advice(docstring, OldCode())
