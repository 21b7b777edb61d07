"""Fixtures that replace those of the whole suite, with the landed revisions only."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.operations.landed import HEAD, PROJECT
from tests.support.alembic_cli import Alembic, AlembicCli, Command
from tests.support.drift import ReferenceSchema
from tests.support.probe_revisions import Revisions
from tests.trading_bot import PROJECT as TODAY
from trading_bot_schema import configuration
from trading_bot_schema.migrator.lock import LOCK_KEY
from verification import Databases, Project
from verification.databases import Factory, transaction


@pytest.fixture(autouse=True)
def _landed_revisions(_no_external_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Alembic and the package's own commands use them, in this process and in others."""
    monkeypatch.setenv("ALEMBIC_CONFIG", str(PROJECT.ini))
    monkeypatch.setattr(configuration, "INSTALLED", PROJECT.ini.parent)


@pytest.fixture
def todays_revisions(_landed_revisions: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Let them use today's instead, for code that uses the models: ``check``, the application."""
    monkeypatch.setenv("ALEMBIC_CONFIG", str(TODAY.ini))
    monkeypatch.setattr(configuration, "INSTALLED", TODAY.ini.parent)
    return TODAY


@pytest.fixture
def todays_database(todays_revisions: Project, empty_database: str) -> str:
    """URL of a database at today's head."""
    todays_revisions.migrate(empty_database)
    return empty_database


@pytest.fixture(scope="session")
def database_at(make_database: Factory) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(PROJECT, make_database)


@pytest.fixture(scope="session")
def reference_schema(database_at: Databases) -> ReferenceSchema:
    """The reference of the command ``drift``: ``reference_schema.differences(snapshot(url))``."""
    return ReferenceSchema(database_at.at(HEAD))


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the last landed revision, to copy."""
    return database_at.template(HEAD)


@pytest.fixture
def alembic(alembic_cli: AlembicCli, revisions: Revisions) -> Alembic:
    """Start a command with the added revisions: ``alembic(url, "upgrade +1", lock_timeout="1s")``.

    In a test whose revisions do not matter, it has the landed ones.
    """

    def start(url: str, command: str = "upgrade head", **settings: object) -> Command:
        options = [f"-x{name}={value}" for name, value in settings.items()]
        return alembic_cli.start("-c", revisions.ini, *options, *command.split(), database=url)

    return start


@pytest.fixture
def other_migrator(database: str) -> Iterator[psycopg.Connection]:
    """A session that has the migrator's lock of the database."""
    lock, options = f"SELECT pg_advisory_lock({LOCK_KEY})", {"application_name": "deploy-7"}
    with transaction(database, lock, autocommit=True, **options) as connection:
        yield connection
