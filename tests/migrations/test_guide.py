"""The recipes in CONTRIBUTING.md are safe, and its table of dangerous operations is measured.

Every revision of a recipe runs on a database with rows, after the previous ones, and is checked by
the rules for revisions, by squawk, and by an application that is connected meanwhile.
"""

import re
from collections.abc import Callable

import pytest

from tests.support.measured import PREPARED, Measured, measure_dangerous, measure_recipe
from tests.support.operations import OPERATIONS, Operation
from tests.support.probe_revisions import Revisions
from tools.document import COMMAND, dangerous_operations, read
from tools.document.dangerous_operations import NAME, anchor, results
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases
from verification.lint import lint
from verification.recipes import GUIDE
from verification.rows import FilledDatabases
from verification.rules import ANY_FORM, RULES, SAFE_FORMS

PAGE = read(dangerous_operations.GUIDE)
DANGEROUS = [operation for operation in OPERATIONS if operation.dangerous]


@pytest.fixture
def check(server: str) -> Callable[..., None]:
    """Compare a measurement with the table: ``check("safe", title, measured)``."""

    def compare(form: str, title: str, measured: Measured) -> None:
        if recorded := results().get(str(databases.release(server))):
            assert recorded[form][title] == measured.effect, f"run: {COMMAND} {NAME}"

    return compare


def skip_if_too_old(title: str, server: str) -> None:
    if (release := databases.release(server)) < GUIDE[title].since:
        pytest.skip(f"not on PostgreSQL {release}")


@pytest.mark.parametrize("title", GUIDE)
def test_recipes_are_safe(
    title: str,
    check: Callable[..., None],
    revisions: Revisions,
    filled_database: FilledDatabases,
    server: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    skip_if_too_old(title, server)
    measured = measure_recipe(title, revisions, filled_database)
    assert measured.broken_rules() == []
    if "get_bind" not in "".join(GUIDE[title].revisions):  # which --sql does not support
        assert lint(revisions.config), capfd.readouterr().out
    if title in {operation.safe for operation in OPERATIONS}:
        check("safe", title, measured)


@pytest.mark.parametrize("operation", DANGEROUS, ids=[each.title for each in DANGEROUS])
def test_dangerous_forms_match_the_table(
    operation: Operation,
    check: Callable[..., None],
    revisions: Revisions,
    filled_database: FilledDatabases,
) -> None:
    measured = measure_dangerous(operation, revisions, filled_database)
    check("dangerous", operation.title, measured)


def test_every_link_points_to_a_section() -> None:
    sections = re.findall(r"^##+ (.*)", PAGE, re.MULTILINE)
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) <= {anchor(title) for title in sections}
    assert {form.safe for form in OPERATIONS} <= GUIDE.keys()
    assert {section for _, (section, _) in SAFE_FORMS} <= GUIDE.keys()
    named = {ANY_FORM[0], "Run again after an interruption", "Timeouts of one revision"}
    assert named <= set(sections)
    assert [rule for rule in RULES if f"`{rule}`" not in PAGE] == []


@pytest.mark.parametrize("title", PREPARED)
def test_a_column_made_not_null_has_the_same_definition(
    title: str,
    revisions: Revisions,
    filled_database: FilledDatabases,
    server: str,
    database: str,
) -> None:
    skip_if_too_old(title, server)
    databases.execute(database, "ALTER TABLE trades ALTER COLUMN commission_asset SET NOT NULL")
    measured = measure_recipe(title, revisions, filled_database)
    key = "TABLE public.trades"
    assert snapshot(measured.url).objects[key] == snapshot(database).objects[key]
