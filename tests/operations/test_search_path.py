"""All commands and the application use the schema ``public``, or say which other one they got."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import make_url

from models.database import make_engine
from tests.support.alembic_cli import AlembicCli, Result
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.url import DatabaseURLError, parse, rendered
from verification import databases

OTHERS = {
    "of the role": ("ALTER ROLE {role} SET search_path = app, public", "app"),
    "of the database": ("ALTER DATABASE {database} SET search_path = app", "app"),
    "of the role's name": ("CREATE SCHEMA AUTHORIZATION {role}", "{role}"),
    "of the URL": ("", "app"),
    "empty": ("ALTER ROLE {role} SET search_path = ''", ""),
    "a schema that does not exist": ("ALTER ROLE {role} SET search_path = nothing", ""),
}
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"


@pytest.fixture
def role(empty_database: str, make_role: Callable[..., str]) -> Iterator[str]:
    role = make_role()
    databases.execute(
        empty_database,
        f"GRANT ALL ON SCHEMA public TO {role}",
        f"CREATE SCHEMA app AUTHORIZATION {role}",
    )
    yield role
    databases.execute(empty_database, f"DROP OWNED BY {role}")


def arrange(database: str, role: str, case: str) -> tuple[str, str]:
    """Return the URL of a role with another search_path, and the schema that it names."""
    statement, schema = OTHERS[case]
    if statement:
        name = make_url(database).database
        databases.execute(database, statement.format(role=role, database=name))
    url = parse(databases.as_role(database, role))
    if case == "of the URL":
        url = url.update_query_dict({"options": "-csearch_path=app,public"})
    return rendered(url), schema.format(role=role)


@pytest.mark.parametrize("case", OTHERS)
async def test_another_schema_is_refused_by_name(
    alembic_cli: AlembicCli,
    package_command: Callable[..., Result],
    empty_database: str,
    role: str,
    case: str,
) -> None:
    url, schema = arrange(empty_database, role, case)
    named = (
        f"tables would be in the schema {schema}," if schema else "tables would be in no schema,"
    )
    for arguments in (("upgrade", "head"), ("downgrade", "base"), ("current",), ("check",)):
        message = alembic_cli.run(*arguments, database=url).refusal()
        assert named in message
        assert "the application use public" in message
    assert databases.scalar(empty_database, TABLES) == 0
    assert named in package_command("plan", database=url).stderr
    engine = make_engine(url)
    with pytest.raises(DatabaseURLError, match=named):
        await engine.connect()
    await engine.dispose()


def test_drift_reads_public_in_any_case(database: str) -> None:
    databases.execute(database, "CREATE SCHEMA app", "CREATE TABLE app.alembic_version ()")
    url = parse(database).update_query_dict({"options": "-csearch_path=app"})
    assert snapshot(rendered(url)) == snapshot(database)


@pytest.mark.parametrize("setting", ['"$user", public', "public, app", "nothing, public"])
async def test_what_leads_to_public_is_accepted(
    alembic_cli: AlembicCli, empty_database: str, role: str, setting: str
) -> None:
    databases.execute(empty_database, f"ALTER ROLE {role} SET search_path = {setting}")
    url = databases.as_role(empty_database, role)
    alembic_cli.run("upgrade", "head", database=url).succeeded()
    assert databases.scalar(empty_database, "SELECT count(*) FROM public.alembic_version") == 1
    engine = make_engine(url)
    async with engine.connect():
        pass
    await engine.dispose()
