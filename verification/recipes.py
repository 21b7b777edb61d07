"""The revisions in a page of recipes, in their order."""

import re
from dataclasses import dataclass
from pathlib import Path

SINCE = re.compile(r"on PostgreSQL (\d+)$")


@dataclass(frozen=True)
class Recipe:
    """A section with revisions."""

    title: str
    revisions: tuple[str, ...]
    """For each, the body of ``upgrade()``, or the function and the code that it needs."""
    docstrings: tuple[str, ...]
    """For each, the lines of its docstring that the recipe has, in a block of text before it."""

    @property
    def since(self) -> int:
        """The first release of PostgreSQL that supports the recipe."""
        match = SINCE.search(self.title)
        return int(match[1]) if match else 15


def recipes(page: Path, heading: str) -> dict[str, Recipe]:
    """Return a page's sections with Python blocks, by title."""
    sections = {}
    for section in re.split(rf"^{heading} ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        title = section.partition("\n")[0]
        if title.startswith("#"):
            continue
        if blocks := re.findall(
            r"(?:```text\n((?:(?!```).)*)```\n\n)?```python\n(.*?)```", section, re.DOTALL
        ):
            docstrings, revisions = zip(*blocks, strict=True)
            sections[title] = Recipe(title, revisions, docstrings)
    return sections
