"""A warning precedes a revision that breaks old code; ``contract=refuse`` stops before it."""

import pytest

from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from verification import databases

REFUSE = ("-x", "contract=refuse")
EXPAND = "A probe.\n\nOld code: fails once: users.\n"
CONTRACT = (
    "A probe.\n\nOld code: breaks: insert into users, select\nusers.probe. It is not used.\n"
)
BREAKAGE = "breaks old code: insert into users, select users.probe."


@pytest.fixture
def contract(revisions: Revisions) -> Revisions:
    """A revision with which old code works, and one that breaks it."""
    revisions.add("expand", 'op.execute("SELECT 1")', docstring=EXPAND)
    revisions.add("contract", 'op.execute("SELECT 2")', docstring=CONTRACT)
    return revisions


def test_a_warning_before_it(alembic_cli: AlembicCli, database: str, contract: Revisions) -> None:
    result = alembic_cli.run("-c", contract.ini, "upgrade", "head", database=database).succeeded()
    (message,) = result.messages
    assert message.endswith(f"Revision contract {BREAKAGE} That code must not run any more.")
    _, _, after = result.stderr.partition(message)
    assert "Running upgrade expand -> contract" in after
    assert databases.version(database) == "contract"


@pytest.mark.parametrize(
    ("options", "environment"), [(REFUSE, {}), ((), {"MIGRATION_CONTRACT": "refuse"})]
)
def test_the_first_of_two_deploy_jobs_stops_before_it(
    alembic_cli: AlembicCli,
    database: str,
    contract: Revisions,
    options: tuple[str, ...],
    environment: dict[str, str],
) -> None:
    arguments = ("-c", contract.ini, *options, "upgrade", "head")
    for _ in range(2):  # The second time, no revision precedes it.
        result = alembic_cli.run(
            *arguments, database=database, environment=environment
        ).succeeded()
        (message,) = result.messages
        assert f"{BREAKAGE} Stopping before it, as contract=refuse says." in message
        assert databases.version(database) == "expand"
    alembic_cli.run("-c", contract.ini, "upgrade", "head", database=database).succeeded()
    assert databases.version(database) == "contract"


def test_a_compatible_revision_after_it_is_refused(
    alembic_cli: AlembicCli, database: str, contract: Revisions
) -> None:
    contract.add("needed", 'op.execute("SELECT 3")', docstring=EXPAND)
    message = alembic_cli.run(
        "-c", contract.ini, *REFUSE, "upgrade", "head", database=database
    ).refusal()
    assert f"Revision contract {BREAKAGE}" in message
    assert "but revision needed follows" in message
    assert "Nothing is changed." in message
    assert databases.version(database) == HEAD


@pytest.mark.parametrize("options", [(), REFUSE])
def test_an_empty_database_has_no_old_code(
    alembic_cli: AlembicCli, empty_database: str, contract: Revisions, options: tuple[str, ...]
) -> None:
    result = alembic_cli.run(
        "-c", contract.ini, *options, "upgrade", "head", database=empty_database
    ).succeeded()
    assert result.messages == []
    assert databases.version(empty_database) == "contract"


def test_a_downgrade_is_not_refused(
    alembic_cli: AlembicCli, database: str, contract: Revisions
) -> None:
    for command in (("upgrade", "head"), (*REFUSE, "downgrade", "-2")):
        result = alembic_cli.run("-c", contract.ini, *command, database=database).succeeded()
    assert result.messages == []
    assert databases.version(database) == HEAD
