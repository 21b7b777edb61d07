"""The migrator tells an upgrade to the head from all other commands of Alembic."""

from collections.abc import Callable

import pytest
from alembic import command, context
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tests.trading_bot import HEAD, HISTORY, PROJECT
from trading_bot_schema.migrator import alembic_internals


@pytest.mark.parametrize(
    ("function", "target", "expected"),
    [
        (command.upgrade, "head", True),
        (command.upgrade, "heads", True),
        (command.upgrade, HEAD, True),
        (command.upgrade, HISTORY[0].revision, False),
        (command.downgrade, "base", False),
        (command.downgrade, HEAD, False),
        (command.stamp, "head", False),
    ],
)
def test_upgrading_to_the_head(
    function: Callable[..., None],
    target: str,
    expected: bool,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []

    def run_env(script: ScriptDirectory) -> None:
        context.configure(connection=connection)
        found.append(alembic_internals.upgrades_to_head(context.get_context(), script))

    monkeypatch.setattr(ScriptDirectory, "run_env", run_env)
    function(PROJECT.config(), target)
    message = "Alembic has renamed what trading_bot_schema/migrator/alembic_internals.py uses"
    assert found == [expected], message
