"""With ``refuse``, a revision whose declaration cannot be read is refused; ``plan`` says so.

That is also so where Python drops docstrings (``PYTHONOPTIMIZE=2``), which declare everything.
"""

import json
from collections.abc import Callable

import pytest
from alembic.config import Config

from tests.operations.landed import HEAD, PROJECT
from tests.support import commandline
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.probe_revisions import Revisions
from trading_bot_schema.plan import command
from verification import databases

USER = "INSERT INTO users (email, hashed_password) VALUES ('a@b.c', 'hash')"
LOCKS = "Locks: ACCESS EXCLUSIVE on users."
OLD_CODE = "Old code: works."
DOWNGRADE = "Downgrade: keeps all data."


def test_guards_without_docstrings(database: str, revisions: Revisions) -> None:
    databases.execute(database, USER)
    revisions.add(
        "contract", 'op.execute("SELECT 1")', docstring="A probe.\n\nOld code: breaks: all of it."
    )

    def run(*command: str) -> Result:
        return commandline.run(*command, DATABASE_URL=database, PYTHONOPTIMIZE="2")

    alembic = ("alembic", "-c", revisions.ini)
    refused = run(*alembic, "-x", "lose=refuse", "downgrade", "base")
    assert "This downgrade loses users (" in refused.refusal()
    stopped = run(*alembic, "-x", "contract=refuse", "upgrade", "head")
    assert "breaks old code: all of it. Stopping before it" in stopped.succeeded().stderr
    assert databases.version(database) == HEAD
    PROJECT.migrate(database, "-1")
    plan = run("trading_bot_schema", "plan", "--json").succeeded()
    (revision,) = json.loads(plan.stdout)["revisions"]
    assert revision["title"]
    assert revision["locks"]
    assert revision["unknown"] == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Downgrade: looses users.",
        "Downgrade: loses: users.",
        "Downgrade: loses the users that have no mail.",
        "Downgrade: loses nothing at all",
        "Downgrade: keeps most.",
        "downgrade: loses users.",
        "Downgrade: keeps all data.\nDowngrade: loses users.",
    ],
)
def test_what_a_downgrade_loses(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, line: str
) -> None:
    docstring = f"A probe.\n\n{OLD_CODE}\n{line}\n"
    revisions.add("probe", 'op.execute("SELECT 1")', docstring=docstring)
    arguments = ("-c", revisions.ini, "-x", "lose=refuse")
    alembic_cli.run(*arguments, "upgrade", "head", database=database).succeeded()
    message = alembic_cli.run(*arguments, "downgrade", "-1", database=database).refusal()
    assert "what revision probe does not declare (" in message
    assert "lose=refuse says that it must not. Nothing is changed." in message
    assert databases.version(database) == "probe"


def test_a_table_that_is_not_there_by_the_declared_name(
    alembic_cli: AlembicCli, database: str
) -> None:
    """Renamed since, it has the rows all the same."""
    databases.execute(database, USER, "ALTER TABLE users RENAME TO people")
    arguments = ("-x", "lose=refuse", "downgrade", "base")
    message = alembic_cli.run(*arguments, database=database).refusal()
    assert "users (there is no table of that name now)" in message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Old code: break: insert into users.",
        "Old code: breaks insert.",
        "Old code: fine.",
        "Old code: works.\nOld code: breaks: insert into users.",
    ],
)
def test_whether_old_code_works(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, line: str
) -> None:
    revisions.add("expand", 'op.execute("SELECT 1")', docstring=f"A probe.\n\n{OLD_CODE}\n")
    revisions.add("probe", 'op.execute("SELECT 2")', docstring=f"A probe.\n\n{line}\n")
    arguments = ("-c", revisions.ini, "-x", "contract=refuse", "upgrade", "head")
    message = alembic_cli.run(*arguments, database=database).refusal()
    assert "Revision probe: " in message
    assert "it may break old code, and contract=refuse says that it must not." in message
    assert databases.version(database) == HEAD


@pytest.mark.parametrize(
    ("lines", "unknown"),
    [
        ((OLD_CODE, DOWNGRADE), "what it locks. "),
        (("Locks: some.", OLD_CODE, DOWNGRADE), "what it locks. 'some' is not 'none', or"),
        ((LOCKS, DOWNGRADE), "whether old code works. There is no line"),
        ((LOCKS, OLD_CODE), "what its downgrade loses. There is no line"),
        ((LOCKS, OLD_CODE, "Downgrade: looses it."), "what its downgrade loses. 'looses it.'"),
        ((LOCKS, LOCKS, OLD_CODE, DOWNGRADE), "what it locks. the line 'Locks:' is repeated"),
    ],
)
def test_plan(
    database: str,
    revisions: Revisions,
    package_command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    unknown: str,
) -> None:
    revisions.add("probe", "pass", docstring="\n".join(("A probe.", "", *lines, "")))
    monkeypatch.setattr(command, "alembic_config", lambda: Config(revisions.ini))
    plan = package_command("plan", "--json", database=database).succeeded()
    (obstacle,) = json.loads(plan.stdout)["obstacles"]
    assert obstacle["effect"] == "unknown"
    assert obstacle["description"].startswith(f"probe: {unknown}")
