"""Fixtures that replace those of the whole suite, with the landed revisions only."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operations.landed import HEAD, PROJECT
from tests.support.drift import ReferenceSchema
from tests.support.probe_revisions import Revisions
from trading_bot_schema import configuration
from verification import Databases


@pytest.fixture(autouse=True)
def _landed_revisions(_no_external_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Alembic and the package's own commands use them, in this process and in others."""
    monkeypatch.setenv("ALEMBIC_CONFIG", str(PROJECT.ini))
    monkeypatch.setattr(configuration, "INSTALLED", PROJECT.ini.parent)


@pytest.fixture(scope="session")
def database_at(make_database: Callable[..., str]) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(PROJECT, make_database)


@pytest.fixture(scope="session")
def reference_schema(make_database: Callable[..., str], database_at: Databases) -> ReferenceSchema:
    """The reference of the command ``drift``: ``reference_schema.differences(snapshot(url))``."""
    return ReferenceSchema(make_database, database_at.at(HEAD))


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the last landed revision, to copy."""
    return database_at.template(HEAD)


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """A copy of the landed revisions, to which a test can add others."""
    return Revisions(PROJECT, tmp_path)
