"""The migrator's use of Alembic's internals works with this version."""

from collections.abc import Callable
from typing import Any

import pytest
from alembic import command, context
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from tests.trading_bot import HISTORY, PROJECT
from trading_bot_schema.migrator import alembic_internals

RENAMED = "Alembic has renamed what trading_bot_schema/migrator/alembic_internals.py uses"


@pytest.fixture
def configured(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command with an environment that only configures Alembic; return its context."""

    def run(function: Callable[..., None], *arguments: str) -> MigrationContext:
        contexts: list[MigrationContext] = []

        def run_env(_: ScriptDirectory) -> None:
            context.configure(connection=connection)
            contexts.append(context.get_context())

        monkeypatch.setattr(ScriptDirectory, "run_env", run_env)
        function(PROJECT.config(), *arguments)
        return contexts[0]

    return run


def test_commands(configured: Callable[..., MigrationContext]) -> None:
    upgrade = configured(command.upgrade, "head")
    assert not alembic_internals.reads_only(upgrade), RENAMED
    steps = list(alembic_internals.steps_of_command(upgrade)((), upgrade))
    assert [str(step.revision.revision) for step in steps] == [
        revision.revision for revision in HISTORY
    ], RENAMED
    assert [
        alembic_internals.uses_autocommit_block(step)
        for step in steps
        if isinstance(step, RevisionStep)
    ][:2] == [False, True], RENAMED
    assert alembic_internals.reads_only(configured(command.current)), RENAMED


def test_upgrading_to_the_head(configured: Callable[..., MigrationContext]) -> None:
    for function, target, expected in (
        (command.upgrade, "head", True),
        (command.upgrade, "heads", True),
        (command.upgrade, HISTORY[-1].revision, True),
        (command.upgrade, HISTORY[0].revision, False),
        (command.downgrade, "base", False),
        (command.stamp, "head", False),
    ):
        migration = configured(function, target)
        assert alembic_internals.upgrades_to_head(migration, PROJECT.scripts) is expected, RENAMED


def test_options(connection: Connection) -> None:
    migration = MigrationContext.configure(
        connection, opts=alembic_internals.options(lambda *_: iter([]), read_only=True)
    )
    connection.execute(text("DROP TABLE alembic_version"))
    migration.run_migrations()
    assert not inspect(connection).has_table("alembic_version"), RENAMED
