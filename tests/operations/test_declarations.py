"""What docstrings declare to break old code or to lose rows is warned of, or refused on request.

A revision whose declaration cannot be read is refused then, too, and ``plan`` says so. All of it
also works where Python drops docstrings (``PYTHONOPTIMIZE=2``), as the revisions here do.
"""

import json
from collections.abc import Callable

import pytest
from alembic.config import Config

from tests.operations.landed import HEAD
from tests.support.alembic_cli import Alembic, Result
from tests.support.probe_revisions import ADD_COLUMN, DROP_COLUMN, Revisions
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.plan import command
from verification import databases

LOCKS = "Locks: ACCESS EXCLUSIVE on users."
OLD_CODE = "Old code: works."
DOWNGRADE = "Downgrade: keeps all data."
FAILS_ONCE = "Old code: fails once: users."
CONTRACT = "Old code: breaks: insert into users, select\nusers.probe. It is not used."
BREAKAGE = "breaks old code: insert into users, select users.probe."
INSERT = (
    "INSERT INTO users (email, hashed_password)"
    " SELECT n || '@example.com', 'hash' FROM generate_series(1, 20) n"
)

Declare = Callable[..., None]


@pytest.fixture
def declare(revisions: Revisions) -> Declare:
    """Add revisions with lines in their docstrings: ``declare(name=line)``."""

    def add(upgrade: str = "pass", downgrade: str = "pass", **lines: str) -> None:
        for name, line in lines.items():
            docstring = f"A probe.\n\n{line}\n"
            revisions.add(name, upgrade, downgrade, code="__doc__ = None", docstring=docstring)

    return add


# Old code.


def test_a_warning_before_a_revision_that_breaks_old_code(
    alembic: Alembic, database: str, declare: Declare
) -> None:
    declare(expand=FAILS_ONCE, contract=CONTRACT)
    result = alembic(database).result().succeeded()
    (message,) = result.messages
    assert message.endswith(f"Revision contract {BREAKAGE} That code must not run any more.")
    assert "Running upgrade expand -> contract" in result.stderr.partition(message)[2]
    assert databases.version(database) == "contract"
    # A downgrade is not refused.
    assert alembic(database, "downgrade -2", contract="refuse").result().succeeded().messages == []
    assert databases.version(database) == HEAD


def test_the_first_of_two_deploy_jobs_stops_before_it(
    alembic: Alembic, database: str, declare: Declare
) -> None:
    declare(expand=FAILS_ONCE, contract=CONTRACT)
    for _ in range(2):  # The second time, no revision precedes it.
        (message,) = alembic(database, contract="refuse").result().succeeded().messages
        assert f"{BREAKAGE} Stopping before it, as contract=refuse says." in message
        assert databases.version(database) == "expand"
    alembic(database).result().succeeded()
    assert databases.version(database) == "contract"


@pytest.mark.parametrize("contract", ["warn", "refuse"])
def test_an_empty_database_has_no_old_code(
    alembic: Alembic, empty_database: str, declare: Declare, contract: str
) -> None:
    declare(contract=CONTRACT)
    assert alembic(empty_database, contract=contract).result().succeeded().messages == []
    assert databases.version(empty_database) == "contract"


NOT_DECLARED = (
    "Revision probe: ",
    "it may break old code, and contract=refuse says that it must not.",
)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            {"expand": FAILS_ONCE, "contract": CONTRACT, "needed": OLD_CODE},
            (f"Revision contract {BREAKAGE}", "but revision needed follows"),
        ),
        ({"expand": OLD_CODE, "probe": ""}, NOT_DECLARED),
        ({"expand": OLD_CODE, "probe": "Old code: breaks insert."}, NOT_DECLARED),
        ({"expand": OLD_CODE, "probe": f"{OLD_CODE}\n{CONTRACT}"}, NOT_DECLARED),
    ],
)
def test_what_the_first_of_two_deploy_jobs_refuses(
    alembic: Alembic,
    database: str,
    declare: Declare,
    lines: dict[str, str],
    says: tuple[str, ...],
) -> None:
    declare(**lines)
    alembic(database, contract="refuse").result().refusal(*says, "Nothing is changed.")
    assert databases.version(database) == HEAD


# Lost rows.


def test_a_downgrade_that_loses_rows(alembic: Alembic, database: str) -> None:
    databases.execute(database, INSERT, "ANALYZE users")
    before = snapshot(database)
    alembic(database, "downgrade base", lose="refuse").result().refusal(
        "This downgrade loses users (about 20 rows), and lose=refuse says"
    )
    assert (snapshot(database), databases.version(database)) == (before, HEAD)
    # Renamed since, the table has the rows all the same.
    databases.execute(database, "ALTER TABLE users RENAME TO people")
    alembic(database, "downgrade base", lose="refuse").result().refusal(
        "users (there is no table of that name now)"
    )


def test_what_loses_nothing_is_not_refused(alembic: Alembic, database: str) -> None:
    # The head revision keeps all data, and empty tables have none.
    for name in ("downgrade -1", "downgrade base", "upgrade head"):
        assert alembic(database, name, lose="refuse").result().succeeded().messages == []


def test_a_column_is_lost_with_its_rows(alembic: Alembic, database: str, declare: Declare) -> None:
    declare(
        ADD_COLUMN.format("users", "probe"),
        DROP_COLUMN.format("users", "probe"),
        probe="Downgrade: loses users.probe.",
    )
    alembic(database, lose="refuse").result().succeeded()
    databases.execute(database, INSERT)
    downgrade = alembic(database, "downgrade -1", lose="refuse")
    downgrade.result().refusal("loses users.probe (some rows)")
    assert databases.version(database) == "probe"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Downgrade: looses users.",
        "Downgrade: loses: users.",
        "Downgrade: loses the users that have no mail.",
        "Downgrade: loses nothing at all",
        "downgrade: loses users.",
        f"{DOWNGRADE}\nDowngrade: loses users.",
    ],
)
def test_what_a_downgrade_loses_is_not_declared(
    alembic: Alembic, database: str, declare: Declare, line: str
) -> None:
    declare(probe=line)
    databases.execute(database, "UPDATE alembic_version SET version_num = 'probe'")
    alembic(database, "downgrade -1", lose="refuse").result().refusal(
        "what revision probe does not declare (",
        "lose=refuse says that it must not. Nothing is changed.",
    )
    assert databases.version(database) == "probe"


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
    declare: Declare,
    package_command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    unknown: str,
) -> None:
    declare(probe="\n".join(lines))
    monkeypatch.setattr(command, "alembic_config", lambda: Config(revisions.ini))
    plan = json.loads(package_command("plan", "--json", database=database).succeeded().stdout)
    assert [revision["title"] for revision in plan["revisions"]] == ["A probe."]
    (obstacle,) = plan["obstacles"]
    assert obstacle["effect"] == "unknown"
    assert obstacle["description"].startswith(f"probe: {unknown}")
