"""Old code runs on the new schema, unless the docstring of the revision says what does not.

``Old code: works.`` in the docstring of a revision says that the code of the revision before it
goes on to work; ``Old code: fails once: trades.`` that prepared statements fail once on each open
connection at most; ``Old code: breaks: insert into users, select users.nickname.`` what fails
until the new code is deployed. It is neither more nor less than what is found here.
"""

import textwrap

from alembic.script import Script

from tests.support import databases, history, old_code
from tests.support.generated_rows import FilledDatabases
from tests.support.history import each_revision, path
from tests.support.roles import RoleDatabases
from trading_bot_schema import docstrings
from trading_bot_schema.docstrings import DocstringError, OldCode


def declared(revision: Script) -> OldCode | None:
    try:
        return docstrings.old_code(revision.longdoc)
    except DocstringError:
        return None


def advice(revision: Script, line: OldCode) -> str:
    """Print the line to paste."""
    text = "\n".join(textwrap.wrap(f"Old code: {line}", 99))
    return f"The docstring of {path(revision)} should say:\n\n{text}\n"


@each_revision
def test_old_code_on_the_new_schema(
    revision: Script, owned_database: FilledDatabases, role_databases: RoleDatabases
) -> None:
    found = old_code.what_happens(
        role_databases,
        lambda: owned_database.at(history.before(revision)),
        lambda url: databases.migrate(url, revision.revision),
    )
    said = declared(revision)
    found = OldCode(found.breaks, found.fails_once, said.slows if said else frozenset())
    assert said == found, advice(revision, found)
