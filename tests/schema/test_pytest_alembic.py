"""The migrations pass pytest-alembic's own tests.

Except for ``test_downgrade_leaves_no_trace``, which needs all revisions to run in a transaction,
and tells less than ``test_revisions.py``.
"""

import pytest
from pytest_alembic import MigrationContext
from pytest_alembic.tests import (
    experimental,
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)

import models

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
