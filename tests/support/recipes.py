"""The revisions in a page of the guide, each without its identifiers and imports."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

from alembic import command
from alembic.config import Config

from tests.trading_bot import ROOT

GUIDE, SCALE = ROOT / "docs" / "recipes.md", ROOT / "docs" / "scale.md"
_REVISION = '''"""{docstring}
{identifiers}"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"
{code}'''


def recipes(page: Path = GUIDE) -> dict[str, list[str]]:
    """Return the revisions in each section of a page, by its title."""
    sections = re.split(r"^##+ (.*)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    blocks = [re.findall(r'```python\n(""".*?)```', text, re.DOTALL) for text in sections[2::2]]
    return {title: found for title, found in zip(sections[1::2], blocks, strict=True) if found}


def add_revisions(config: Config, sources: Iterable[str]) -> list[str]:
    """Draft a revision for each, as a contributor does, and write its source; return the names."""
    names = []
    for source in sources:
        docstring, _, code = source.removeprefix('"""').partition('"""\n')
        # Names that sort like the history, since several may have the same date.
        draft = command.revision(config, docstring.partition(".")[0], rev_id=f"{time.time_ns():x}")
        assert draft is not None
        assert not isinstance(draft, list)
        path = Path(draft.path)
        text = path.read_text(encoding="utf-8")
        source = _REVISION.format(
            docstring=docstring,
            identifiers=text[text.index("Revision ID:") :].partition('"""')[0],
            revision=draft.revision,
            down_revision=draft.down_revision,
            code=code,
        )
        path.write_text(source, encoding="utf-8")
        names.append(draft.revision)
    return names
