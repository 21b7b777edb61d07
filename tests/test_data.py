"""Rows survive every revision, up and down, unless its docstring says what does not.

``Downgrade: loses trades.note, orders.`` in the docstring of a revision says what a downgrade
followed by an upgrade does not bring back; ``Upgrade: loses ...`` what an upgrade followed by a
downgrade does not; ``Upgrade: changes ...`` which columns have other values after the upgrade.
The names are tables and columns, and they are neither more nor fewer than what is found here,
with the rows of ``tests/rows.py`` and those of ``tests/support/generated_rows.py``.
"""

import psycopg
from alembic.script import Script
from psycopg.rows import dict_row

from tests.rows import ROWS
from tests.support import databases, history
from tests.support.content import Rows, columns, content, insert, lost, shared
from tests.support.generated_rows import FilledDatabases
from tests.support.history import each_revision, path
from trading_bot_schema.docstrings import names


def declared(revision: Script, what: str) -> set[str]:
    """Return what a docstring says after, for instance, ``Downgrade: loses``."""
    heading, verb = what.split(": ")
    return names(revision.longdoc, heading, verb)


@each_revision
def test_upgrade_and_back(revision: Script, filled_database: FilledDatabases) -> None:
    url = filled_database.at(history.before(revision))
    insert(url)
    before = content(url)
    databases.migrate(url, revision.revision)
    after = content(url)
    changed = lost(shared(before, after), after)
    assert changed == declared(revision, "Upgrade: changes"), path(revision)
    databases.migrate(url, "-1")
    assert lost(before, content(url)) == declared(revision, "Upgrade: loses"), path(revision)


@each_revision
def test_downgrade_and_back(revision: Script, filled_database: FilledDatabases) -> None:
    url = filled_database.at(revision.revision)
    insert(url)
    before = content(url)
    databases.migrate(url, "-1")
    databases.migrate(url, revision.revision)
    assert lost(before, content(url)) == declared(revision, "Downgrade: loses"), path(revision)


def test_rows_are_representative(database: str) -> None:
    with psycopg.connect(database, row_factory=dict_row) as connection:
        found = columns(connection)
    poor = [
        f"{table}.{column}"
        for table, names in found.items()
        for column in names
        if len({row.get(column) for row in ROWS.get(table, [])}) < 2
    ]
    assert not poor, f"tests/rows.py needs two different values of {', '.join(poor)}"


def test_what_is_lost() -> None:
    before: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "a", "note": None}, (2,): {"id": 2, "email": "b"}},
        "trades": {(1,): {"id": 1}},
        "bots": {(1,): {"id": 1}},
    }
    after: dict[str, Rows] = {
        "users": {(1,): {"id": 1, "email": "A"}, (2,): {"id": 2, "email": "b"}},
        "trades": {},
    }
    assert lost(before, after) == {"users.email", "users.note", "trades", "bots"}
    assert lost(shared(before, after), after) == {"users.email", "trades"}
    assert lost(before, before) == set()
