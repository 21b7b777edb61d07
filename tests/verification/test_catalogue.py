"""Each dangerous form in docs/recipes.md has the effects that the table there says.

The statements are those of the library. A recipe, which is safe, is tested in ``test_guide.py``.
"""

import json
import re

import pytest

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from verification import Databases, old_code
from verification.observed_revision import ObservedRevision

ROWS = [
    tuple(cell.strip().strip("`") for cell in line.strip("|").split(" | "))
    for line in re.findall(
        r"^\|.*", LIBRARY.guide.read_text(encoding="utf-8").partition("| to | ")[2], re.MULTILINE
    )
    if line.count(" | ") == 4 and "---" not in line
]


def test_the_table_is_found() -> None:
    assert len(ROWS) > 10


@pytest.mark.parametrize(("title", "statement", "rules", "code", "safe"), ROWS)
def test_the_effects_of_a_dangerous_form(
    title: str,
    statement: str,
    rules: str,
    code: str,
    safe: str,
    revisions: Revisions,
    owned_databases: Databases,
) -> None:
    revisions.add("probe", f"op.execute({json.dumps(statement)})")
    databases = owned_databases.of(revisions.project)
    script = revisions.project.scripts.get_revision("probe")
    broken = ObservedRevision(databases, script).broken_rules()
    names = ", ".join(sorted({rule.partition("]")[0].strip("[") for rule in broken})) or "none"
    observed = (names, str(old_code.of_revision(databases, script)).removesuffix("."))
    row = f"| {title} | `{statement}` | {observed[0]} | {observed[1]} | {safe} |"
    assert observed == (rules, code), f"docs/recipes.md should have:\n{row}"
