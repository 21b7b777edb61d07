"""The pages' links work, and the tests, packages, names and version that they list exist."""

import ast
import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tests.trading_bot import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pages in ("*.md", "docs/**/*.md", "tests/*.md")
    for path in ROOT.glob(pages)
}


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_have_targets(name: str) -> None:
    broken = []
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", PAGES[name]):
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            broken.append(path)
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            broken.append(f"{path}#{anchor}")
    assert broken == []


def guarantee(path: Path) -> str:
    """Return the first sentence of a module's docstring, as in Markdown."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence, *_ = re.split(r"\.(?:\s|$)", docstring, maxsplit=1)
    return " ".join(sentence.replace("``", "`").split())


FOLDERS = sorted({path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")})


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_of_the_tests_is_complete(folder: str) -> None:
    files = sorted((ROOT / "tests" / folder).glob("test_*.py"))
    section = PAGES["tests/README.md"].partition(f"\n## {folder}/\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `test_.*", section, re.MULTILINE)
    expected = [f"| `{path.name}` | {guarantee(path)} |" for path in files]
    lines = "\n".join(expected)
    assert listed == expected, f"tests/README.md should have, in {folder}/:\n{lines}"


def test_the_layout_lists_every_package() -> None:
    section = PAGES["README.md"].partition("\n## Layout\n")[2]
    listed = re.findall(r"^\| `(\w+)/`", section, re.MULTILINE)
    packages = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[!.]*/*.py")}
    assert packages | {"docs"} == {*listed}


def test_names_of_the_api_exist() -> None:
    for name in re.findall(r"`(models(?:\.\w+)+)", PAGES["README.md"]):
        assert resolve_name(name)


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## [{version}] - " in PAGES["CHANGELOG.md"]
