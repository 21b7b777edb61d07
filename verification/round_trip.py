"""Determines which rows a revision changes, and which are lost on the way there and back.

``Upgrade: changes ...`` declares which columns have other values after the upgrade, or are filled;
``Upgrade: loses ...`` what an upgrade followed by a downgrade does not restore;
``Downgrade: loses ...`` what a downgrade followed by an upgrade does not. The names must equal
those determined with the rows that are written by hand and the generated ones.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from alembic.script import Script

from trading_bot_schema.docstrings import names
from verification.content import column_names, content, insert_all, lost, shared
from verification.history import Databases
from verification.lines import WrongLine
from verification.observation import Observation

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


def undeclared(databases: Databases, script: Script, upgrade: Observation) -> Iterator[WrongLine]:
    """Yield where the docstring of a revision is wrong about what it changes and loses."""
    project, docstring = databases.project, script.longdoc
    up = partial(project.migrate, revision=script.revision)
    down = partial(project.downgrade, script=script)
    url = databases.before(script)
    insert_all(url, project)
    result = round_trip(url, up, down)
    declared = names(docstring, "Upgrade", "changes")
    # A new column that is filled in existing rows may be named, and has to be if rows of its table
    # are updated in no other column.
    changed = result.changed | (result.added & declared)
    for table in {table for statement in upgrade.statements for table in +statement.updated}:
        if not any(name == table or name.startswith(f"{table}.") for name in changed):
            changed |= {name for name in result.added if name.startswith(f"{table}.")}
    yield from _difference("Upgrade: changes", changed, declared)
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
