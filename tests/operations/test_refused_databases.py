"""A database that the migrations cannot work with is refused by each command, with advice."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from sqlalchemy import make_url

from tests.operations.landed import HEAD, HISTORY, TABLES
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.drivers import ask_asyncpg
from tests.support.probe_revisions import ADD_COLUMN, Revisions
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.url import DatabaseURLError
from verification import databases

UPGRADE = ("upgrade head",)
CHANGES = (*UPGRADE, "downgrade base")
ALEMBIC = (*CHANGES, "current", "check")
REPORTS = ("plan", "drift")
ACCEPT = "-x ahead=accept "

VERSION = "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"
NEWER = "UPDATE alembic_version SET version_num = 'theirs'"
UNKNOWN_REVISION = "at revision theirs, which is not among the migrations here"
FORCE = "ALTER TABLE {} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
HIDDEN = (
    'row-level security policy for table "alembic_version"',
    "which needs BYPASSRLS",
)
OWN_ALL = tuple(f"ALTER TABLE {table} OWNER TO {{role}}" for table in [*TABLES, "alembic_version"])
OWNER = "GRANT ALL ON SCHEMA public TO {role}"
NO_SUCH_REVISION = ("There is no such revision",)
SEARCH_PATH = "ALTER ROLE {role} SET search_path = "
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2VjcmV0"


class Case(NamedTuple):
    # What makes the database so, with ``{role}`` and ``{database}``.
    statements: tuple[str, ...]
    says: tuple[str, ...]
    commands: tuple[str, ...] = UPGRADE
    # Whether the database has no migrated tables.
    empty: bool = False
    # Run the commands as a role that is a member of these, rather than as the superuser.
    member_of: str | None = None
    unsaid: tuple[str, ...] = (HASH,)


def other_schema(*statements: str, schema: str = "in no schema") -> Case:
    return Case(
        (OWNER, *statements),
        (f"tables would be {schema},", "the application use public"),
        (*ALEMBIC, "plan"),
        empty=True,
        member_of="",
    )


def superfluous(ancestor: str) -> Case:
    return Case(
        (f"INSERT INTO alembic_version VALUES ('{ancestor}')",),
        (
            f"one for {ancestor}, which comes before it and is superfluous",
            f"Remove it with `alembic stamp --purge {HEAD}`",
        ),
        (*ALEMBIC, *REPORTS),
    )


OTHER_SCHEMAS = {
    "with another search_path of the role": other_schema(
        "CREATE SCHEMA app AUTHORIZATION {role}",
        SEARCH_PATH + "app, public",
        schema="in the schema app",
    ),
    "with another search_path of its own": other_schema(
        "CREATE SCHEMA app AUTHORIZATION {role}",
        "ALTER DATABASE {database} SET search_path = app",
        schema="in the schema app",
    ),
    "with a schema of the role's name": other_schema(
        "CREATE SCHEMA AUTHORIZATION {role}", schema="in the schema {role}"
    ),
    "with an empty search_path": other_schema(SEARCH_PATH + "''"),
    "with a search_path that does not exist": other_schema(SEARCH_PATH + "nothing"),
}
CASES = {
    **OTHER_SCHEMAS,
    "at a newer revision": Case(
        (NEWER,),
        (
            f"The database is {UNKNOWN_REVISION}",
            f"whose head is {HEAD}",
            "Deploy that version, or downgrade with it first.",
            "-x ahead=accept",
        ),
        (
            *ALEMBIC,
            *(ACCEPT + command for command in ("downgrade base", "downgrade -1", "upgrade +1")),
            ACCEPT + "check",
        ),
        unsaid=("stamp",),
    ),
    "at a newer revision, and reported on": Case((NEWER,), (UNKNOWN_REVISION,), REPORTS),
    "that a role may not read": Case(
        (), ("cannot be read: permission denied for table",), REPORTS, member_of=""
    ),
    "at a newer revision, without a table": Case(
        (NEWER, "DROP TABLE trades"),
        (f"{UNKNOWN_REVISION}, and has no table trades:", "so ahead=accept does not accept it"),
        (ACCEPT + "upgrade head",),
    ),
    "of another project": Case(
        (VERSION, "INSERT INTO alembic_version VALUES ('theirs'), ('too')"),
        (*TABLES, "Correct DATABASE_URL."),
        (ACCEPT + "upgrade head",),
        empty=True,
    ),
    "without alembic_version": Case(
        ("DROP TABLE alembic_version",), ("`alembic stamp REVISION`",)
    ),
    "without a recorded revision": Case(
        ("DELETE FROM alembic_version",), ("`alembic stamp REVISION`",)
    ),
    "with a row for the first revision": superfluous(HISTORY[0].revision),
    "with a row for the last revision but one": superfluous(HISTORY[-2].revision),
    "that hides its revision from its owner": Case(
        (OWNER, "ALTER TABLE alembic_version OWNER TO {role}", FORCE.format("alembic_version")),
        HIDDEN,
        (*ALEMBIC, *REPORTS),
        member_of="",
    ),
    "that hides its revision from a role that reads everything": Case(
        (FORCE.format("alembic_version"),),
        HIDDEN,
        (*ALEMBIC, *REPORTS),
        member_of="pg_read_all_data, pg_monitor",
    ),
    "with a table of that name": Case(
        (f"CREATE TABLE users AS SELECT '{HASH}' AS hashed_password",),
        ('relation "users" already exists', "Use an empty database, or"),
        empty=True,
    ),
    "that is read-only": Case(
        ("ALTER DATABASE {database} SET default_transaction_read_only = on",),
        (
            "cannot execute CREATE TABLE in a read-only transaction",
            "see default_transaction_read_only",
        ),
        empty=True,
        unsaid=("standby",),
    ),
    "without a privilege": Case(
        (),
        ("permission denied for schema public", "as one with the CREATE privilege"),
        empty=True,
        member_of="",
    ),
    "without the target": Case(
        (), NO_SUCH_REVISION, ("upgrade ", "upgrade head+1", "plan ", "plan head+1")
    ),
    "without the named target": Case(
        (),
        ("Can't locate revision identified by 'nosuch'", "`alembic history`"),
        ("upgrade nosuch", "downgrade nosuch"),
    ),
    "without the named target of a plan": Case(
        (), ("No such revision or branch 'nosuch'", "`alembic history`"), ("plan nosuch",)
    ),
}


@pytest.fixture
def arranged(
    request: pytest.FixtureRequest, make_role: Callable[..., str]
) -> Callable[[Case], tuple[str, list[str]]]:
    """Make a database as in a case; return its URL for the commands, and what they say."""

    def arrange(case: Case) -> tuple[str, list[str]]:
        url: str = request.getfixturevalue("empty_database" if case.empty else "database")
        role = "" if case.member_of is None else make_role(member_of=case.member_of)
        names = {"role": role, "database": make_url(url).database}
        databases.execute(url, *(statement.format(**names) for statement in case.statements))
        says = [part.format(**names) for part in case.says]
        return databases.as_role(url, role) if role else url, says

    return arrange


@pytest.mark.parametrize("name", CASES)
def test_the_commands(
    alembic_cli: AlembicCli,
    package_command: Callable[..., Result],
    arranged: Callable[[Case], tuple[str, list[str]]],
    server: str,
    name: str,
) -> None:
    case = CASES[name]
    url, says = arranged(case)
    as_superuser = make_url(server).set(database=make_url(url).database)
    before = snapshot(as_superuser)
    for command in case.commands:
        run = package_command if command.startswith(REPORTS) else alembic_cli.run
        message = run(*command.split(" "), database=url).refusal(*says)
        assert [part for part in case.unsaid if part in message] == []
    assert snapshot(as_superuser) == before


@pytest.mark.parametrize("name", OTHER_SCHEMAS)
def test_the_application(arranged: Callable[[Case], tuple[str, list[str]]], name: str) -> None:
    url, (named, _) = arranged(CASES[name])
    with pytest.raises(DatabaseURLError, match=named):
        ask_asyncpg(url)


@pytest.mark.parametrize("setting", ['"$user", public', "public, app", "nothing, public"])
def test_what_leads_to_public_is_accepted(
    alembic_cli: AlembicCli, arranged: Callable[[Case], tuple[str, list[str]]], setting: str
) -> None:
    url, _ = arranged(other_schema(SEARCH_PATH + setting))
    alembic_cli.run("upgrade", "head", database=url).succeeded()
    assert databases.scalar(url, "SELECT count(*) FROM public.alembic_version") == 1
    assert ask_asyncpg(url) == 1


@pytest.mark.parametrize("target", ["head", str(HEAD)])
def test_a_newer_version_is_accepted_on_request(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, target: str
) -> None:
    revisions.add("next", ADD_COLUMN.format("users", "probe"))
    accept = ("-x", "ahead=accept", "upgrade")
    # It is not ahead yet, so this migrates it.
    alembic_cli.run("-c", revisions.ini, *accept, "head", database=database).succeeded()
    before = snapshot(database)
    result = alembic_cli.run(*accept, target, database=database)
    (message,) = result.succeeded().messages
    for part in ("WARNI", UNKNOWN_REVISION.replace("theirs", "next"), f"head is {HEAD}"):
        assert part in message
    assert snapshot(database) == before


@pytest.mark.parametrize("name", ["without alembic_version", "without a recorded revision"])
def test_plan_names_the_tables_without_a_recorded_revision(
    package_command: Callable[..., Result],
    arranged: Callable[[Case], tuple[str, list[str]]],
    name: str,
) -> None:
    """As of ``create_all()``, a dump of some tables, or an emptied ``alembic_version``."""
    url, (advice,) = arranged(CASES[name])
    plan = package_command("plan", database=url)
    assert (plan.status, plan.stdout.splitlines()[-1]) == (1, "It would not run now.")
    text = " ".join(plan.stdout.split())
    for table in TABLES:
        assert f"blocks: {table}: It exists, but alembic_version records no revision. Use" in text
    assert advice in text


def test_a_superfluous_row_is_removed_as_advised(alembic_cli: AlembicCli, database: str) -> None:
    databases.execute(database, *superfluous(HISTORY[0].revision).statements)
    alembic_cli.run("stamp", "--purge", str(HEAD), database=database).succeeded()
    assert databases.version(database) == HEAD


@pytest.mark.parametrize(
    ("lose", "bypasses"), [("refuse", False), ("warn", False), ("refuse", True)]
)
def test_hidden_rows_that_a_downgrade_loses(
    alembic_cli: AlembicCli,
    arranged: Callable[[Case], tuple[str, list[str]]],
    lose: str,
    bypasses: bool,
) -> None:
    user = "INSERT INTO users (email, hashed_password) VALUES ('a@b.c', 'hash')"
    url, _ = arranged(
        Case(
            (
                OWNER,
                *OWN_ALL,
                "" if bypasses else user,
                FORCE.format("users"),
                f"ALTER ROLE {{role}} {'BYPASSRLS' if bypasses else 'NOBYPASSRLS'}",
            ),
            (),
            member_of="",
        )
    )
    result = alembic_cli.run("-x", f"lose={lose}", "downgrade", "base", database=url)
    assert (result.status == 0) == (lose == "warn" or bypasses)
    hidden = "loses users (row-level security hides its rows from this role, which needs"
    assert [hidden in message for message in result.messages] == [True] * (not bypasses)
