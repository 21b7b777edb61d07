"""Fixtures as in ``tests/conftest.py``, of the library instead of the bot."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from verification import Databases
from verification.roles import RoleDatabases, databases_for_roles


@pytest.fixture(scope="session")
def database_at(make_database: Callable[..., str]) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(LIBRARY, make_database)


@pytest.fixture(scope="session")
def role_databases(server: str) -> Iterator[RoleDatabases]:
    """Databases with an owner and a role of the application."""
    assert LIBRARY.roles
    with databases_for_roles(LIBRARY.roles, server) as roles:
        yield roles


@pytest.fixture(scope="session")
def owned_databases(role_databases: RoleDatabases) -> Databases:
    """Databases that belong to the role that migrates: ``owned_databases.before(revision)``."""
    return Databases(LIBRARY, role_databases.make, role_databases.app)


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the head revision, to copy."""
    return database_at.template(LIBRARY.head)


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """A copy of the library's migrations, to which a test can add revisions."""
    return Revisions(LIBRARY, tmp_path)
