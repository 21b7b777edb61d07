"""The guarantees hold for a schema with parts of every kind: no tool fails on one of them."""

import pytest
from alembic import command
from alembic.script import Script

from tests.verification.project import LIBRARY
from verification import GUARANTEES, Databases
from verification.conformance import Conformance
from verification.databases import sync_engine


# Together, since a revision is observed once.
@pytest.mark.parametrize("revision", LIBRARY.history, ids=lambda revision: revision.revision)
def test_revision(revision: Script, owned_databases: Databases) -> None:
    for guarantee in GUARANTEES:
        assert list(guarantee(owned_databases, revision)) == [], guarantee.__name__


def test_models_and_migrations(database_at: Databases) -> None:
    url = database_at.at(LIBRARY.head)
    assert Conformance(database_at).drift(url) == ""
    command.check(LIBRARY.config(sync_engine(url)))
