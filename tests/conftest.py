"""One PostgreSQL server per run, one migrated template per worker, one fresh database per test.

The server is the one that ``TEST_DATABASE_URL`` names (its user must be allowed to create
databases), else an embedded one without durability.
"""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.config import Config
from psycopg import sql
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models.database import make_engine
from tests.support import alembic_cli as cli
from tests.support import databases
from tests.support.conformance import Conformance
from tests.support.drift import Built
from tests.support.generated_rows import FilledDatabases
from tests.support.history import Databases
from tests.support.measured import Measured
from tests.support.observed_revision import ObservedRevision, Probe
from tests.support.probe_revisions import HEAD, Revisions
from trading_bot_schema import __main__, embedded
from trading_bot_schema.url import parse

SERVER_VARIABLE = "TEST_DATABASE_URL"
# A test server may forget everything at a crash.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "max_prepared_transactions": "10",
}
# A database is 300 files; in memory, they cost a tenth. A container may have too little of it.
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own in it
MEMORY_NEEDED = 2 * 1024**3
_EMBEDDED = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--refresh``."""
    parser.addoption(
        "--refresh",
        action="store_true",
        help="write the generated files anew: docs/schema.sql, the table in docs/conformance.md",
    )


@pytest.fixture
def refresh(request: pytest.FixtureRequest) -> bool:
    """Whether to write generated files anew."""
    return bool(request.config.getoption("--refresh"))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server, before pytest-xdist starts its workers, which inherit the variable."""
    if SERVER_VARIABLE in os.environ or session.config.option.collectonly:
        return
    in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    home = Path(
        tempfile.mkdtemp(prefix="trading-bot-schema-tests-", dir=MEMORY if in_memory else None)
    )
    # Not private: the server may run as another account.
    home.chmod(0o755)
    session.config.stash[_EMBEDDED] = home
    try:
        url = embedded.start(home / "server", SETTINGS)
    except embedded.EmbeddedError as error:
        pytest.exit(str(error), returncode=1)
    os.environ[SERVER_VARIABLE] = url.render_as_string(hide_password=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server."""
    home = config.stash.get(_EMBEDDED, None)
    if home is not None:
        embedded.stop(home / "server")
        shutil.rmtree((home / "server").resolve(), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
        os.environ.pop(SERVER_VARIABLE, None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own database out of the tests."""
    for name in list(os.environ):
        if name == "DATABASE_URL" or name.startswith(("PG", "ALEMBIC_", "MIGRATION_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server() -> str:
    """URL of the server, for making databases on it."""
    return parse(os.environ[SERVER_VARIABLE]).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def make_database(server: str) -> Iterator[Callable[..., str]]:
    """Make a database that lives until the end of the run: ``make_database(template=...)``."""
    prefix = f"test_{uuid4().hex[:12]}"
    numbers = itertools.count(1)
    with ExitStack() as stack:
        yield lambda template="template0": stack.enter_context(
            databases.database(server, f"{prefix}_{next(numbers)}", template)
        )


@pytest.fixture(scope="session")
def database_at(make_database: Callable[..., str]) -> Databases:
    """Databases at any revision: ``database_at.at(revision)``."""
    return Databases(make_database)


@pytest.fixture(scope="session")
def filled_database(make_database: Callable[..., str], database_at: Databases) -> FilledDatabases:
    """Databases at any revision, with rows: ``filled_database.at(revision)``."""
    return FilledDatabases(make_database, database_at)


@pytest.fixture(scope="session")
def conformance(make_database: Callable[..., str], database_at: Databases) -> Conformance:
    """The conformance check: ``conformance.drift(url)`` says what differs from the models."""
    return Conformance(make_database(), database_at)


@pytest.fixture(scope="session")
def built(make_database: Callable[..., str], database_at: Databases) -> Built:
    """What the command ``drift`` compares with: ``built.differences(snapshot(url))``."""
    return Built(make_database, database_at.at("head"))


@pytest.fixture(scope="session")
def migrated_template(server: str) -> Iterator[str]:
    """Name of a database at the head revision, to copy."""
    name = f"test_{uuid4().hex[:12]}_template"
    with databases.database(server, name) as url:
        databases.migrate(url)
        yield name


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """URL of a database without tables."""
    with databases.database(server, f"test_{uuid4().hex}") as url:
        yield url


@pytest.fixture
def database(server: str, migrated_template: str) -> Iterator[str]:
    """URL of a database at the head revision."""
    with databases.database(server, f"test_{uuid4().hex}", migrated_template) as url:
        yield url


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """The application's engine, on the fresh database."""
    engine = make_engine(database)
    yield engine
    await engine.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session as the application has it."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A psycopg connection to the fresh database."""
    with databases.sync_engine(database).connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def alembic_cli() -> Iterator[cli.Server]:
    """The command line: ``alembic_cli.run("upgrade", "head", database=...)``."""
    with cli.server() as server:
        yield server


@pytest.fixture
def package_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., cli.Result]:
    """The package's own commands, in this process: ``package_command("plan", database=...)``."""

    def run(*words: str, database: str) -> cli.Result:
        monkeypatch.setenv("DATABASE_URL", database)
        monkeypatch.setattr(sys, "argv", ["trading_bot_schema", *words])
        with pytest.raises(SystemExit) as stop:
            __main__.main()
        return cli.Result(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def make_role(server: str) -> Iterator[Callable[..., str]]:
    """Create a role that may log in, as ``make_role("_End_of_its_name", of="others")``."""
    made = []

    def make(end: str = "", of: str = "") -> str:
        role = f"test_{uuid4().hex[:12]}{end}"
        made.append(role)
        statement = "CREATE ROLE {} LOGIN PASSWORD 'pw'" + (f" IN ROLE {of}" if of else "")
        databases.execute(server, sql.SQL(statement).format(sql.Identifier(role)))
        return role

    yield make
    for role in made:
        databases.execute(server, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    """A copy of the migrations, to add some to."""
    return Revisions(tmp_path)


@pytest.fixture
def probe(revisions: Revisions, filled_database: FilledDatabases) -> Probe:
    """Observe a revision of these: ``probe(upgrade, downgrade, docstring, after=earlier)``."""

    def observed(
        upgrade: str, downgrade: str = "pass", docstring: str = "", *, after: str = ""
    ) -> ObservedRevision:
        if after:
            revisions.add("earlier", after)
        revisions.add("probe", upgrade, downgrade, docstring or "A probe.")

        def start() -> str:
            url = filled_database.at(str(HEAD))
            if after:
                databases.migrate(url, "earlier", revisions.config())
            return url

        return ObservedRevision("probe", docstring, start, config=revisions.config)

    return observed


@pytest.fixture
def measure(
    revisions: Revisions,
    filled_database: FilledDatabases,
    make_database: Callable[..., str],
) -> Callable[..., Measured]:
    """Run a form of an operation: ``measure(functions, prepared, without)``."""

    def run(
        functions: Iterable[str], prepared: str = "", without: Collection[str] = ()
    ) -> Measured:
        start = filled_database.at(str(HEAD))
        if prepared:
            with psycopg.connect(start) as connection:
                connection.execute(prepared)

        def copy(url: str) -> str:
            return make_database(str(make_url(url).database))

        return Measured(functions, revisions, start, copy, without)

    return run


@pytest.fixture
def alembic_config() -> Config:
    """Override pytest-alembic's: the project's configuration."""
    return databases.alembic_config()


@pytest.fixture
def alembic_engine(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Override pytest-alembic's: an empty database.

    pytest-alembic writes the URL into the configuration of a subprocess and forgets to double
    percent signs, so the host goes where libpq finds it as well.
    """
    url = make_url(empty_database)
    for name, value in url.query.items():
        monkeypatch.setenv(f"PG{name.upper()}", str(value))
    return databases.sync_engine(url.set(query={}))
