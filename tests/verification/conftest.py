"""Fixtures as in ``tests/conftest.py``, of the library instead of the bot."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from verification import Databases
from verification.roles import databases_for_roles


@pytest.fixture(scope="session")
def database_at(make_database: Callable[..., str]) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(LIBRARY, make_database)


@pytest.fixture(scope="session")
def owned_databases(server: str) -> Iterator[Databases]:
    """Databases that belong to the role that migrates: ``owned_databases.before(revision)``."""
    with databases_for_roles(LIBRARY, server) as databases:
        yield databases


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the head revision, to copy."""
    return database_at.template(LIBRARY.head)


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """A copy of the library's migrations, to which a test can add revisions."""
    return Revisions(LIBRARY, tmp_path)
