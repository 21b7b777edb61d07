"""Fixtures as in ``tests/conftest.py``, of the library instead of the bot."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from verification import Databases
from verification.databases import Factory
from verification.roles import RoleDatabases


@pytest.fixture(scope="session")
def database_at(make_database: Factory) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(LIBRARY, make_database)


@pytest.fixture(scope="session")
def owned_templates(server: str) -> Iterator[Databases]:
    """Those of ``owned_databases``, with the roles of the project's script."""
    with closing(RoleDatabases(LIBRARY.roles, server)) as factory:
        yield Databases(LIBRARY, factory)


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the head revision, to copy."""
    return database_at.template(LIBRARY.head)


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """A copy of the library's migrations, to which a test can add revisions."""
    return Revisions(LIBRARY, tmp_path)
