"""With ``docs/roles.sql``, the application's role can use the tables, and nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession

from models import Trade
from models.database import make_engine
from tests.support import factories
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from tests.trading_bot import ROOT
from verification import databases
from verification.roles import run_script

SCRIPT = ROOT / "docs" / "roles.sql"

FORBIDDEN = [
    "ALTER TABLE users ADD COLUMN extra integer",
    "ALTER TABLE probe RENAME TO probes",
    "DROP TABLE trades",
    "TRUNCATE trades",
    "CREATE TABLE extra ()",
    "CREATE INDEX ON trades (symbol)",
    "ALTER TABLE trades DISABLE TRIGGER ALL",
    "INSERT INTO alembic_version VALUES ('extra')",
    "UPDATE alembic_version SET version_num = 'extra'",
    "DELETE FROM alembic_version",
    "TRUNCATE alembic_version",
    "DROP TABLE alembic_version",
    "SELECT * FROM alembic_version FOR UPDATE",
    "SELECT * FROM alembic_version FOR SHARE",
    "LOCK TABLE alembic_version IN SHARE MODE",
]


@dataclass
class Roles:
    """URLs of a database for its two roles."""

    owner: str
    app: str


@pytest.fixture
def make_roles(server: str, empty_database: str) -> Iterator[Callable[..., Roles]]:
    """Run the script on the empty database, as its comment says."""
    prefix = f"test_{uuid4().hex}"
    names = owner, app = (f"{prefix}_Owner", f"{prefix}_App")

    def make(by: str = empty_database) -> Roles:
        run_script(SCRIPT, by, owner, app)
        databases.execute(server, *(f"ALTER ROLE \"{name}\" PASSWORD 'pw'" for name in names))
        return Roles(*(databases.as_role(empty_database, name) for name in names))

    yield make
    for name in names:
        databases.execute(empty_database, f'DROP OWNED BY "{name}" CASCADE', f'DROP ROLE "{name}"')


@pytest.fixture
def roles(
    make_roles: Callable[..., Roles], alembic_cli: AlembicCli, revisions: Revisions
) -> Roles:
    """A database that its owner has migrated, later revisions included."""
    roles = make_roles()
    revisions.add(
        "probe",
        'op.create_table("probe", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True))',
    )
    alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=roles.owner).succeeded()
    return roles


async def _use_the_models(url: str) -> None:
    engine = make_engine(url)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        user = factories.user(api_keys=[factories.api_key()])
        state = factories.bot_state()
        trade = factories.trade(factories.bot_config(owner=user, state=state))
        session.add(trade)
        assert await session.scalar(select(Trade.id).with_for_update()) == trade.id
        state.daily_trades_count = 1
        await session.delete(trade)
        await session.flush()
        await session.delete(user)
        await session.commit()
    await engine.dispose()


def test_the_application_role_uses_tables_of_later_revisions_and_nothing_else(
    roles: Roles, subtests: pytest.Subtests
) -> None:
    assert databases.scalar(roles.app, "INSERT INTO probe DEFAULT VALUES RETURNING id") == 1
    assert databases.scalar(roles.app, "SELECT version_num FROM alembic_version") == "probe"
    for statement in FORBIDDEN:
        with subtests.test(statement), pytest.raises(psycopg.errors.InsufficientPrivilege):
            databases.execute(roles.app, f"BEGIN; {statement}")  # as LOCK needs a transaction


async def test_the_script_runs_again_and_on_a_migrated_database(
    make_roles: Callable[..., Roles], alembic_cli: AlembicCli, empty_database: str
) -> None:
    alembic_cli.run("upgrade", "head", database=empty_database).succeeded()
    function = "CREATE OR REPLACE FUNCTION probe() RETURNS integer RETURN 1"
    databases.execute(empty_database, function)
    make_roles()
    roles = make_roles()
    databases.execute(roles.owner, function)
    assert databases.scalar(roles.app, "SELECT probe()") == 1
    await _use_the_models(roles.app)
    for arguments in (("downgrade", "base"), ("upgrade", "head")):
        alembic_cli.run(*arguments, database=roles.owner).succeeded()
    await _use_the_models(roles.app)


@pytest.fixture
def admin(server: str, empty_database: str, make_role: Callable[..., str]) -> Iterator[str]:
    """The database as its owner, with CREATEROLE but not a superuser, as in a managed cloud."""
    role, change = make_role("_Admin"), f"ALTER DATABASE {make_url(empty_database).database}"
    databases.execute(server, f'ALTER ROLE "{role}" CREATEROLE', f'{change} OWNER TO "{role}"')
    yield databases.as_role(empty_database, role)
    databases.execute(server, f"{change} OWNER TO CURRENT_USER")


async def test_an_admin_without_superuser_rights(
    admin: str, make_roles: Callable[..., Roles], alembic_cli: AlembicCli
) -> None:
    # Run by a role that is not a superuser, also twice and on a migrated database.
    roles = make_roles(admin)
    alembic_cli.run("upgrade", "7c1d0e5a9b42", database=roles.owner).succeeded()
    make_roles(admin)
    owner = make_url(roles.owner).username
    refused = alembic_cli.run("upgrade", "head", database=admin)
    refused.refusal(f"Migrate as that role: with `-x role={owner}`")
    assert databases.version(admin) == "7c1d0e5a9b42"
    alembic_cli.run("-x", f"role={owner}", "upgrade", "head", database=admin).succeeded()
    await _use_the_models(roles.app)


@pytest.mark.parametrize("name", ["nosuch", "pg_read_all_data"])
def test_an_unusable_role(alembic_cli: AlembicCli, roles: Roles, name: str) -> None:
    environment = {"MIGRATION_ROLE": name}
    alembic_cli.run("current", database=roles.owner, environment=environment).refusal(
        f"Cannot migrate as the role {name}", "is not a member of it"
    )


def test_the_migrators_timeouts_override_those_of_the_database(
    alembic_cli: AlembicCli, empty_database: str, revisions: Revisions
) -> None:
    # The last is new in PostgreSQL 17.
    query = (
        "SELECT array_agg(name) FROM pg_settings WHERE name IN"
        " ('idle_session_timeout', 'statement_timeout', 'transaction_timeout')"
    )
    names = databases.scalar(empty_database, query)
    change = f"ALTER DATABASE {make_url(empty_database).database} SET"
    databases.execute(empty_database, *(f"{change} {name} = '10s'" for name in names))
    revisions.add(
        "probe", f"print(*(op.get_bind().scalar(sa.text('SHOW ' + name)) for name in {names}))"
    )
    result = alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=empty_database)
    assert set(result.stdout.split()) == {"0"}, result.output
