"""The hot queries of old code use indexes on the new schema as before.

``Old code: slows: last trades of a bot.`` in the docstring of a revision declares those that do
not, since it drops or changes an index. Only queries that run on both schemas are compared.
"""

from dataclasses import replace

import pytest

from trading_bot_schema.docstrings import OldCode
from verification import databases
from verification.history import HISTORY, Databases
from verification.old_code.line import advice, declared
from verification.old_code.plans import Plans


@pytest.fixture(scope="module")
def plans(database_at: Databases) -> Plans:
    """Plans at the first revision."""
    return Plans(database_at.at(HISTORY[0].revision))


def test_no_revision_slows_a_hot_query(plans: Plans, subtests: pytest.Subtests) -> None:
    for revision in HISTORY[1:]:
        with subtests.test(revision.revision):
            slowed = plans.slowed_by(lambda url: databases.migrate(url, revision.revision))  # noqa: B023
            line = declared(revision) or OldCode()
            assert line.slows == slowed, advice(revision, replace(line, slows=frozenset(slowed)))
