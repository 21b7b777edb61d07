"""One PostgreSQL server per run, one migrated template per worker, one fresh database per test.

The server is the one that ``TEST_DATABASE_URL`` names (its user must be allowed to create
databases), else an embedded one without durability.
"""

import gc
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.config import Config
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import Base
from models.database import make_engine
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.probe_revisions import Probe, Revisions
from tests.trading_bot import HEAD, PROJECT
from trading_bot_schema import __main__, embedded
from trading_bot_schema.url import parse
from verification import Databases, databases, servers
from verification.conformance import Conformance
from verification.databases import Factory
from verification.observed_revision import ObservedRevision
from verification.roles import RoleDatabases

# A database for all tests, emptied before each, as ``test_citus.py`` runs them.
DISTRIBUTED = "TEST_DISTRIBUTED_DATABASE_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--tools`` and ``--ordinary``."""
    parser.addoption(
        "--tools",
        action="store_true",
        help="measure how much drift other tools report: tests/verification/test_other_tools.py",
    )
    parser.addoption(
        "--ordinary",
        action="store_true",
        help="measure the guide's recipes, and run the suite on each change of"
        " tests/migrations/test_ordinary_changes.py",
    )


def pytest_configure() -> None:
    """End the session, and so its server, when a signal arrives, also under ``nohup``."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server before pytest-xdist starts its workers, which inherit the variable."""
    if servers.VARIABLE in os.environ or session.config.option.collectonly:
        return
    stack = ExitStack()
    session.config.add_cleanup(stack.close)
    try:
        os.environ[servers.VARIABLE] = stack.enter_context(servers.server())
    except embedded.EmbeddedError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(autouse=True)
def _no_external_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own settings from the environment."""
    for name in list(os.environ):
        if name == "DATABASE_URL" or name.startswith(("PG", "ALEMBIC_", "MIGRATION_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server() -> str:
    """URL of the server, for creating databases."""
    return parse(os.environ[servers.VARIABLE]).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def make_database(server: str) -> Iterator[Factory]:
    """Create a database that exists until the end of the run: ``make_database(template)``."""
    with closing(Factory(server)) as factory:
        yield factory


@pytest.fixture(scope="session")
def database_at(make_database: Factory) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(PROJECT, make_database)


@pytest.fixture(scope="session")
def owned_templates(server: str) -> Iterator[Databases]:
    """Those of ``owned_databases``, with the roles of the project's script."""
    with closing(RoleDatabases(PROJECT.roles, server)) as factory:
        yield Databases(PROJECT, factory)


@pytest.fixture
def owned_databases(owned_templates: Databases) -> Iterator[Databases]:
    """Databases that belong to the role that migrates: ``owned_databases.before(revision)``."""
    yield owned_templates
    owned_templates.release()


@pytest.fixture(scope="session")
def conformance(database_at: Databases) -> Conformance:
    """The conformance check: ``conformance.drift(url)`` returns differences from the models."""
    return Conformance(database_at)


@pytest.fixture(scope="session")
def migrated_template(database_at: Databases) -> str:
    """Name of a database at the head revision, to copy."""
    return database_at.template(HEAD)


@pytest.fixture
def empty_database(make_database: Factory, make_role: Callable[..., str]) -> Iterator[str]:
    """URL of a database without tables; it is dropped before roles, which may own objects."""
    url = make_database()
    yield url
    make_database.drop(url)


@pytest.fixture
def database(
    make_database: Factory, migrated_template: str, make_role: Callable[..., str]
) -> Iterator[str]:
    """URL of a database at the head revision; it is dropped before roles."""
    if DISTRIBUTED in os.environ:
        tables = ", ".join(Base.metadata.tables)
        databases.execute(os.environ[DISTRIBUTED], f"TRUNCATE {tables} RESTART IDENTITY")
        yield os.environ[DISTRIBUTED]
        return
    url = make_database(migrated_template)
    yield url
    make_database.drop(url)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """The application's engine, on the fresh database."""
    engine = make_engine(database)
    yield engine
    await engine.dispose()


@pytest.fixture
def abandoned_connections() -> Iterator[None]:
    """Collect connections that cancelled workers have left, of which Python would warn later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session with the application's options."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def transact(engine: AsyncEngine) -> Callable[..., Awaitable[Any]]:
    """Call a function with a session in its own transaction: ``transact(queries.tick, 1)``."""

    async def transact(function: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            return await function(session, *args, **options)

    return transact


@pytest.fixture
def statements(engine: AsyncEngine) -> list[str]:
    """The statements that the application's engine executes."""
    executed: list[str] = []
    event.listen(
        engine.sync_engine, "before_cursor_execute", lambda *args: executed.append(args[2])
    )
    return executed


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A psycopg connection to the fresh database."""
    with databases.sync_engine(database).connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def alembic_cli(tmp_path_factory: pytest.TempPathFactory) -> AlembicCli:
    """The command line: ``alembic_cli.run("upgrade", "head", database=...)``."""
    return AlembicCli(tmp_path_factory.mktemp("alembic"))


@pytest.fixture
def package_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """The package's own commands, in this process: ``package_command("plan", database=...)``."""

    def run(*arguments: str, database: str) -> Result:
        monkeypatch.setenv("DATABASE_URL", database)
        monkeypatch.setattr(sys, "argv", ["trading_bot_schema", *arguments])
        with pytest.raises(SystemExit) as stop:
            __main__.main()
        return Result(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def password_server() -> Iterator[str]:
    """URL of a server of its own that requires the password of a role, which may do anything."""
    with embedded.temporary({"fsync": "off"}) as url:
        trusted = url.render_as_string()
        databases.execute(trusted, "CREATE ROLE bot SUPERUSER LOGIN PASSWORD 'right'")
        hba = Path(databases.scalar(trusted, "SHOW hba_file"))
        hba.write_text(f"local all bot scram-sha-256\n{hba.read_text()}")
        databases.execute(trusted, "SELECT pg_reload_conf()")
        yield url.set(username="bot", password="right").render_as_string(hide_password=False)


@pytest.fixture
def make_role(server: str) -> Iterator[Callable[..., str]]:
    """Create a role with LOGIN: ``make_role("_Suffix", member_of="others")``."""
    roles = []

    def make(suffix: str = "", member_of: str = "") -> str:
        role = f"test_{uuid4().hex[:12]}{suffix}"
        roles.append(role)
        member = f" IN ROLE {member_of}" if member_of else ""
        databases.execute(server, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'pw'{member}")
        return role

    yield make
    databases.execute(server, *(f'DROP ROLE "{role}"' for role in roles))


@pytest.fixture
def revisions(database_at: Databases, tmp_path: Path) -> Revisions:
    """A copy of the migrations, to which a test can add revisions."""
    return Revisions(database_at.project, tmp_path)


@pytest.fixture
def probe(revisions: Revisions, owned_databases: Databases) -> Probe:
    """Observe an added revision: ``probe(upgrade, downgrade, docstring, earlier=upgrade)``."""

    def observed(
        upgrade: str, downgrade: str = "pass", docstring: str = "", *, earlier: str = ""
    ) -> ObservedRevision:
        if earlier:
            revisions.add("earlier", earlier)
        revisions.add("probe", upgrade, downgrade, docstring=docstring or "A probe.")
        project = revisions.project
        return ObservedRevision(owned_databases.of(project), project.scripts.get_revision("probe"))

    return observed


@pytest.fixture
def reachable_directory() -> Iterator[Path]:
    """A directory that the server's account can access, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def alembic_config() -> Config:
    """Override pytest-alembic's: the project's configuration."""
    return PROJECT.config()


@pytest.fixture
def alembic_engine(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Override pytest-alembic's: an empty database.

    pytest-alembic writes the URL into the configuration of a subprocess without doubling percent
    signs, so the host is passed in libpq's variables.
    """
    url = make_url(empty_database)
    for name, value in url.query.items():
        monkeypatch.setenv(f"PG{name.upper()}", str(value))
    return databases.sync_engine(url.set(query={}))
