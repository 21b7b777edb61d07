"""Old code runs on the new schema, unless the docstring of the revision says what does not.

``Old code: works.`` in the docstring of a revision says that the code of the revision before it
goes on to work; ``Old code: fails once: trades.`` that prepared statements fail once on each open
connection at most; ``Old code: breaks: insert into users, select users.nickname.`` what fails
until the new code is deployed. It is neither more nor less than what is found here.
"""

from dataclasses import replace

from alembic.script import Script

from tests.support import databases, history, old_code
from tests.support.generated_rows import FilledDatabases
from tests.support.history import each_revision
from tests.support.old_code.line import advice, declared
from tests.support.roles import RoleDatabases


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
    # tests/test_old_plans.py finds what it slows.
    found = replace(found, slows=said.slows if said else frozenset())
    assert said == found, advice(revision, found)
