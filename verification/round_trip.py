"""Determines which rows a revision changes, and which are lost on the way there and back.

``Upgrade: changes ...`` declares which columns have other values after the upgrade;
``Upgrade: loses ...`` what an upgrade followed by a downgrade does not restore;
``Downgrade: loses ...`` what a downgrade followed by an upgrade does not. The names must equal
those determined with the rows that are written by hand and the generated ones.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from alembic.script import Script

from trading_bot_schema.docstrings import names
from verification.content import column_names, content, insert_all, lost, shared
from verification.history import Databases
from verification.lines import WrongLine

KEEPS = re.compile(r"^Downgrade:\s+keeps all data\b", re.MULTILINE)
WHAT_HAPPENS = "What happens to rows is declared otherwise, or not at all."


class RoundTrip(NamedTuple):
    """The effect on the rows when a database is migrated to another revision and back.

    Attributes:
        added: Columns that were added.
        lost: What the migration there changed, and the one back does not restore.
    """

    changed: set[str]
    added: set[str]
    lost: set[str]


def round_trip(
    url: str, there: Callable[[str], object], back: Callable[[str], object]
) -> RoundTrip:
    """Migrate a database there and back, and compare its rows."""
    before = content(url)
    there(url)
    between = content(url)
    back(url)
    return RoundTrip(
        lost(shared(before, between), between),
        column_names(between) - column_names(before),
        lost(before, between) & lost(before, content(url)),
    )


def undeclared(databases: Databases, script: Script) -> Iterator[WrongLine]:
    """Yield where the docstring of a revision is wrong about what it changes and loses."""
    project, docstring = databases.project, script.longdoc

    def up(url: str) -> None:
        project.migrate(url, script.revision)

    def down(url: str) -> None:
        project.downgrade(url, script)

    url = databases.before(script)
    insert_all(url, project)
    result = round_trip(url, up, down)
    # A new column that is filled in existing rows may be named.
    changes = names(docstring, "Upgrade", "changes") - (result.added - result.changed)
    yield from _difference("Upgrade: changes", result.changed, changes)
    yield from _difference("Upgrade: loses", result.lost, names(docstring, "Upgrade", "loses"))
    url = databases.after(script)
    insert_all(url, project)
    result = round_trip(url, down, up)
    declared = names(docstring, "Downgrade", "loses")
    if result.lost != declared or not (declared or KEEPS.search(docstring)):
        text = f"loses {_listed(result.lost)}" if result.lost else "keeps all data."
        yield WrongLine(WHAT_HAPPENS, "Downgrade:", text)


def _difference(start: str, measured: set[str], declared: set[str]) -> Iterator[WrongLine]:
    if measured != declared:
        yield WrongLine(WHAT_HAPPENS, start, _listed(measured) if measured else None)


def _listed(names: set[str]) -> str:
    return f"{', '.join(sorted(names))}."
