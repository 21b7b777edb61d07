"""pytest-alembic's own tests, the experimental ones included."""

import pytest
from pytest_alembic import MigrationContext
from pytest_alembic.tests import (
    experimental,
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from pytest_alembic.tests.experimental import test_downgrade_leaves_no_trace

import models

__all__ = [
    "test_downgrade_leaves_no_trace",
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


def test_all_models_register_on_metadata(
    alembic_runner: MigrationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It looks for the metadata in the package itself, or for a base class of SQLAlchemy 1.
    monkeypatch.setattr(models, "metadata", models.Base.metadata, raising=False)
    experimental.test_all_models_register_on_metadata(alembic_runner, model_package="models")
