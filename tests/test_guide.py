"""What CONTRIBUTING.md advises is safe, and what it warns of is measured.

Every revision of a recipe runs on a database with rows, after those before it, and is judged by
the rules for revisions, by squawk, and by an application that runs on meanwhile.
"""

import re
from collections.abc import Callable
from textwrap import indent

import psycopg
import pytest

from tests.support.measured import Measured
from tests.support.probe_revisions import Revisions
from tests.support.recipes import GUIDE
from tests.support.rules import ANY_FORM, RULES, SAFE_FORMS
from tools import dangerous_operations
from tools.dangerous_operations import (
    OPERATIONS,
    Operation,
    anchor,
    documents,
    measured,
    write,
)
from tools.lint_migrations import lint
from trading_bot_schema.drift.catalogue import snapshot

PAGE = dangerous_operations.GUIDE.read_text(encoding="utf-8")
DANGEROUS = [operation for operation in OPERATIONS if operation.dangerous]

# What the first revision of a recipe finds, beside the rows of the data tests.
PREPARED = {
    "Make a column NOT NULL": "UPDATE trades SET commission_asset = '' WHERE commission_asset"
    " IS NULL",
    "Make a column NOT NULL, on PostgreSQL 18": "UPDATE trades SET commission_asset = ''"
    " WHERE commission_asset IS NULL",
}


@pytest.fixture
def release(server: str) -> int:
    """The server's release, such as 18."""
    with psycopg.connect(server) as connection:
        return connection.info.server_version // 10_000


@pytest.fixture
def check(release: int, refresh: bool) -> Callable[..., None]:
    """Compare what was measured with what the table says: ``check("safe", title, found)``."""

    def compare(form: str, title: str, found: Measured) -> None:
        known = measured()
        if refresh:
            known.setdefault(str(release), {}).setdefault(form, {})[title] = found.effect
            write(known)
        if str(release) in known:
            assert known[str(release)][form][title] == found.effect, (
                "the table in CONTRIBUTING.md is out of date: pytest tests/test_guide.py --refresh"
            )

    return compare


@pytest.mark.parametrize("title", GUIDE)
def test_recipes_are_safe(
    title: str,
    measure: Callable[..., Measured],
    check: Callable[..., None],
    revisions: Revisions,
    release: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    recipe = GUIDE[title]
    if release < recipe.since:
        pytest.skip(f"not on PostgreSQL {release}")
    without = {name for each in OPERATIONS if each.safe == title for name in each.deployed_without}
    found = measure(recipe.revisions, PREPARED.get(title, ""), without)
    assert found.broken_rules() == []
    if "get_bind" not in "".join(recipe.revisions):  # which has no --sql
        assert lint(revisions.config()), capfd.readouterr().out
    if title in {operation.safe for operation in OPERATIONS}:
        check("safe", title, found)


@pytest.mark.parametrize("operation", DANGEROUS, ids=[each.title for each in DANGEROUS])
def test_the_table_says_what_is_dangerous(
    operation: Operation, measure: Callable[..., Measured], check: Callable[..., None]
) -> None:
    function = f"def upgrade():\n{indent(operation.dangerous, '    ')}"
    check("dangerous", operation.title, measure([function]))


def test_the_table_is_made_of_the_measurements() -> None:
    for page, text in documents().items():
        assert page.read_text(encoding="utf-8") == text, "run: python -m tools.document"


def test_every_link_leads_to_a_section() -> None:
    sections = re.findall(r"^##+ (.*)", PAGE, re.MULTILINE)
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) <= {anchor(title) for title in sections}
    assert {form.safe for form in OPERATIONS} <= GUIDE.keys()
    assert {section for _, (section, _) in SAFE_FORMS} <= GUIDE.keys()
    named = {ANY_FORM[0], "Run again after an interruption", "Timeouts of one revision"}
    assert named <= set(sections)
    for rule in RULES:
        assert f"`{rule}`" in PAGE


@pytest.mark.parametrize("title", PREPARED)
def test_a_column_that_was_made_not_null_is_like_one_that_always_was(
    title: str, measure: Callable[..., Measured], release: int, database: str
) -> None:
    if release < GUIDE[title].since:
        pytest.skip(f"not on PostgreSQL {release}")
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE trades ALTER COLUMN commission_asset SET NOT NULL")
    found = measure(GUIDE[title].revisions, PREPARED[title])
    key = "TABLE public.trades"
    assert snapshot(found.url).objects[key] == snapshot(database).objects[key]
