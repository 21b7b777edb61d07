"""The recipes of the guide follow the rules for live databases, in their order."""

import re

import pytest

from tests.support.probe_revisions import Revisions
from tests.trading_bot import PROJECT
from verification import Databases, databases
from verification.lint import findings
from verification.observed_revision import ObservedRevision
from verification.recipes import Recipe, recipes
from verification.rules import ANY_FORM, RULES, SAFE_FORMS

PAGE = PROJECT.guide.read_text(encoding="utf-8")
GUIDE = recipes(PROJECT.guide, "###")
# A first revision, for what a recipe expects of the rows.
PREPARED = {
    title: "op.execute(\"UPDATE trades SET commission_asset = '' WHERE commission_asset IS NULL\")"
    for title in GUIDE
    if title.startswith("Make a column NOT NULL")
}


def added(recipe: Recipe, revisions: Revisions) -> list[str]:
    """Add the revisions of a recipe, and return their names."""
    if recipe.title in PREPARED:
        revisions.add("prepared", PREPARED[recipe.title])
    names = [f"probe{number}" for number, _ in enumerate(recipe.revisions, start=1)]
    for name, upgrade, lines in zip(names, recipe.revisions, recipe.docstrings, strict=True):
        revisions.add(name, upgrade, docstring=f"A probe.\n\n{lines}")
    return names


@pytest.mark.parametrize("recipe", GUIDE.values(), ids=lambda recipe: recipe.title)
def test_recipes_are_safe(
    recipe: Recipe, revisions: Revisions, owned_databases: Databases, server: str
) -> None:
    if (release := databases.release(server)) < recipe.since:
        pytest.skip(f"not on PostgreSQL {release}")
    names = added(recipe, revisions)
    project = revisions.project
    for name in names:
        script = project.scripts.get_revision(name)
        assert ObservedRevision(owned_databases.of(project), script).broken_rules() == []
        if "get_bind" not in "".join(recipe.revisions):  # which --sql does not support
            assert list(findings(project, script)) == []


def test_every_link_points_to_a_section() -> None:
    sections = re.findall(r"^##+ (.*)", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in sections}
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) <= anchors
    assert {section for _, (section, _) in SAFE_FORMS} <= GUIDE.keys()
    named = {ANY_FORM[0], "Run again after an interruption", "Timeouts of one revision"}
    assert named <= set(sections)
    assert [rule for rule in RULES if f"`{rule}`" not in PAGE] == []
