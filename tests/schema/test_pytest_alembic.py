"""The migrations pass pytest-alembic's own tests, the experimental ones included."""

import re
from contextlib import nullcontext
from typing import Any

import pytest
from alembic.runtime.migration import MigrationContext as AlembicContext
from pytest_alembic import MigrationContext
from pytest_alembic.tests import (
    experimental,
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Engine, event

import models
from trading_bot_schema.migrator import alembic_internals

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


def test_all_models_register_on_metadata(
    alembic_runner: MigrationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It expects the metadata in the package itself, or a base class of SQLAlchemy 1.
    monkeypatch.setattr(models, "metadata", models.Base.metadata, raising=False)
    experimental.test_all_models_register_on_metadata(alembic_runner, model_package="models")


# SQLAlchemy reflects a CHECK that is NOT VALID, and then warns of its own option.
@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")
def test_downgrade_leaves_no_trace(
    alembic_runner: MigrationContext, alembic_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It rolls back each revision, so that nothing may run outside a transaction.
    def ordinary(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> Any:
        return re.sub(r"INDEX CONCURRENTLY", "INDEX", statement), values

    monkeypatch.setattr(alembic_internals, "uses_autocommit_block", lambda _: False)
    monkeypatch.setattr(AlembicContext, "autocommit_block", lambda _: nullcontext())
    event.listen(alembic_engine, "before_cursor_execute", ordinary, retval=True)
    experimental.test_downgrade_leaves_no_trace(alembic_runner)
