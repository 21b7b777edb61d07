"""What CONTRIBUTING.md advises is safe, and what it warns of is measured.

Every revision of a recipe runs on a database with rows, after those before it, and is judged by
the rules for revisions, by squawk, and by an application that runs on meanwhile.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from textwrap import indent

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.application import ALWAYS, NOTHING, ONCE, Application
from tests.support.generated_rows import FilledDatabases
from tests.support.lock_lines import named_locks
from tests.support.observed_revision import ObservedRevision
from tests.support.probe_revisions import HEAD, Revisions
from tests.support.recipes import GUIDE
from tests.support.rules import ANY_FORM, RULES, SAFE_FORMS
from tools import dangerous_operations
from tools.dangerous_operations import (
    OPERATIONS,
    Effect,
    Operation,
    anchor,
    guide,
    measured,
    write,
)
from tools.lint_migrations import lint
from trading_bot_schema.drift.catalogue import snapshot

PAGE = dangerous_operations.GUIDE.read_text(encoding="utf-8")
DANGEROUS = [operation for operation in OPERATIONS if operation.dangerous]
WORST = (NOTHING, ONCE, ALWAYS)

# What the first revision of a recipe finds, beside the rows of the data tests.
PREPARED = {
    "Make a column NOT NULL": "UPDATE trades SET commission_asset = '' WHERE commission_asset"
    " IS NULL",
    "Make a column NOT NULL, on PostgreSQL 18": "UPDATE trades SET commission_asset = ''"
    " WHERE commission_asset IS NULL",
}


class Measured:
    """A form of an operation, run revision by revision beside an application."""

    def __init__(
        self,
        functions: Iterable[str],
        revisions: Revisions,
        start: str,
        copy: Callable[[str], str],
        without: Collection[str] = (),
    ) -> None:
        self.locks: list[str] = []
        self.application = NOTHING
        self.observed: list[ObservedRevision] = []
        self.url = start
        for number, function in enumerate(functions, start=1):
            name = f"probe{number}"
            revisions.add_function(name, function)
            first = copy(self.url)
            start_again = partial(_first_or_copy, iter([first]), copy, self.url)
            observed = ObservedRevision(name, "", start_again, config=revisions.config)
            with Application(first, without) as application:
                self.locks.append(named_locks(observed.upgrade))
                self.application = max(self.application, application.sees(), key=WORST.index)
            self.observed.append(observed)
            self.url = first

    @property
    def effect(self) -> Effect:
        """What the table says of it."""
        if len(self.locks) == 1:
            return [self.locks[0], self.application]
        numbered = (f"{number}. {locks}" for number, locks in enumerate(self.locks, start=1))
        return ["<br>".join(numbered), self.application]

    def broken_rules(self) -> list[str]:
        return [text for observed in self.observed for text in observed.broken_rules()]


def _first_or_copy(first: Iterator[str], copy: Callable[[str], str], url: str) -> str:
    return next(first, None) or copy(url)


@pytest.fixture
def measure(
    revisions: Revisions,
    filled_database: FilledDatabases,
    make_database: Callable[..., str],
) -> Callable[..., Measured]:
    """Run a form of an operation: ``measure(functions, prepared, without)``."""

    def run(
        functions: Iterable[str], prepared: str = "", without: Collection[str] = ()
    ) -> Measured:
        start = filled_database.at(str(HEAD))
        if prepared:
            with psycopg.connect(start) as connection:
                connection.execute(prepared)

        def copy(url: str) -> str:
            return make_database(str(make_url(url).database))

        return Measured(functions, revisions, start, copy, without)

    return run


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
    text = dangerous_operations.GUIDE.read_text(encoding="utf-8")
    assert guide(text, measured()) == text, "run: python -m tools.document"


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
