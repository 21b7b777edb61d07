"""The READMEs agree, their links work, and the list of the tests is complete."""

import ast
import re
from pathlib import Path

import pytest

from tests.trading_bot import ROOT


def parts(name: str) -> dict[str, list[str]]:
    """Return the parts that do not depend on the language."""
    text = (ROOT / name).read_text(encoding="utf-8")
    code = r"^```.*?^```$"
    prose = re.sub(code, "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        "headings": [line.split()[0] for line in prose.splitlines() if line.startswith("#")],
        "blocks of code": re.findall(code, text, flags=re.DOTALL | re.MULTILINE),
        "code in the text": sorted(re.findall(r"`[^`]+`", prose.replace("\n", " "))),
        "links": sorted(re.findall(r"\]\(([^)]+)\)", prose)),
        "items and rows": re.findall(r"^(- |\d\. |\|)", prose, flags=re.MULTILINE),
    }


@pytest.mark.parametrize("part", parts("README.md"))
def test_same_in_both_languages(part: str) -> None:
    turkish = [
        "README.tr.md" if value == "README.md" else value for value in parts("README.tr.md")[part]
    ]
    assert turkish == parts("README.md")[part]


def guarantee(path: Path) -> str:
    """Return the first sentence of a module's docstring, as in Markdown."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence, *_ = re.split(r"\.(?:\s|$)", docstring, maxsplit=1)
    return " ".join(sentence.replace("``", "`").split())


def test_the_map_of_the_tests_is_complete() -> None:
    page = (ROOT / "tests/README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\| ([^|]+) \| `(test_\w+\.py)` \|$", page, re.MULTILINE)
    files = [(guarantee(path), path.name) for path in (ROOT / "tests").glob("test_*.py")]
    assert sorted(listed) == sorted(files), "tests/README.md has the first sentence of each file"


PAGES = [path for pages in ("*.md", "docs/*.md", "docs/deploy/*.md") for path in ROOT.glob(pages)]


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_links_have_targets(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
