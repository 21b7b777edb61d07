"""The recipes of the guide and the route to Citus pass what landed revisions pass.

They follow a landed revision, which never changes. ``--ordinary`` measures the lines of their
docstrings as well.
"""

import re
from pathlib import Path

import pytest

from tests.operations import landed
from tests.support import commandline
from tests.support.probe_revisions import Revisions
from tests.support.recipes import GUIDE, SCALE, recipes
from tests.trading_bot import ROOT
from verification import GUARANTEES, Databases
from verification.agreement import is_reversible_and_the_same_offline
from verification.guarantees import follows_the_rules_for_code, passes_squawk
from verification.rules import ANY_FORM, RULES, SAFE_FORMS

PAGE = GUIDE.read_text(encoding="utf-8")
RECIPES = recipes() | recipes(SCALE)
QUICK = (follows_the_rules_for_code, passes_squawk, is_reversible_and_the_same_offline)


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    return Revisions(landed.PROJECT, tmp_path)


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(
    title: str, revisions: Revisions, owned_databases: Databases, request: pytest.FixtureRequest
) -> None:
    scripts = revisions.add_recipe(RECIPES[title])
    databases = owned_databases.of(revisions.project)
    problems = [
        f"{script.doc} {problem}"
        for script in scripts
        for guarantee in (GUARANTEES if request.config.option.ordinary else QUICK)
        for problem in guarantee(databases, script)
    ]
    assert not problems, "\n\n".join(problems)
    style = (f"--config={ROOT / 'pyproject.toml'}", revisions.project.scripts.versions)
    for check in (("format", "--check"), ("check", "--ignore=F401")):
        commandline.run("ruff", *check, *style).succeeded()


def test_every_link_points_to_a_section() -> None:
    sections = re.findall(r"^##+ (.*)", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections}
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) <= anchors
    assert {section for _, (section, _) in SAFE_FORMS} <= RECIPES.keys()
    named = {ANY_FORM[0], "Run again after an interruption", "Timeouts of one revision"}
    assert named <= set(sections)
    assert [rule for rule in RULES if f"`{rule}`" not in PAGE] == []
