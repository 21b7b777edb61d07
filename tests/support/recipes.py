"""The revisions that CONTRIBUTING.md and docs/scale.md show, in their order."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.databases import ROOT

SINCE = re.compile(r"on PostgreSQL (\d+)$")


@dataclass(frozen=True)
class Recipe:
    """A section with revisions."""

    title: str
    revisions: tuple[str, ...]
    """Of each, the body of ``upgrade()``, or the function and what it needs."""

    @property
    def since(self) -> int:
        """The first release of PostgreSQL that has what the recipe uses."""
        found = SINCE.search(self.title)
        return int(found[1]) if found else 15


def recipes(page: Path, heading: str) -> dict[str, Recipe]:
    """Read a page's sections with Python blocks, by their titles."""
    found = {}
    for section in re.split(rf"^{heading} ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        title = section.partition("\n")[0]
        if blocks := re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            found[title] = Recipe(title, tuple(blocks))
    return found


GUIDE = {
    title: recipe
    for title, recipe in recipes(ROOT / "CONTRIBUTING.md", "###").items()
    if not title.startswith("#")
}
SCALE = recipes(ROOT / "docs" / "scale.md", "##")
