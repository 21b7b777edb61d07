"""Squawk looks at every revision, and refuses what would hurt a live database."""

import os
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from tests import commandline, databases
from tests.databases import ROOT
from tools.lint_migrations import lint

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0123456789ab"
down_revision = {head!r}


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
"""


def lint_with(directory: Path, upgrade: str, downgrade: str = "pass") -> bool:
    """Lint the project's revisions and one more."""
    config = databases.alembic_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    (directory / "a_revision.py").write_text(
        REVISION.format(head=head, upgrade=upgrade, downgrade=downgrade)
    )
    versions = os.pathsep.join((str(ROOT / "alembic" / "versions"), str(directory)))
    config.set_main_option("version_locations", versions)
    return lint(config)


def test_the_projects_revisions() -> None:
    done = commandline.run("tools.lint_migrations")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("dangerous", "rule"),
    [
        (
            'op.add_column("trades", sa.Column("note", sa.Text(), nullable=False))',
            "adding-required-field",
        ),
        ('op.alter_column("trades", "pnl", nullable=False)', "adding-not-nullable-field"),
        ('op.alter_column("trades", "price", type_=sa.Float())', "changing-column-type"),
        ('op.alter_column("trades", "pnl", new_column_name="profit")', "renaming-column"),
        ('op.drop_column("trades", "pnl")', "ban-drop-column"),
        ('op.create_index("ix", "trades", ["symbol"])', "require-concurrent-index-creation"),
        (
            'op.create_index("ix", "trades", ["symbol"], postgresql_concurrently=True)',
            "ban-concurrent-index-creation-in-transaction",
        ),
        ('op.create_unique_constraint("u", "trades", ["symbol"])', "disallowed-unique-constraint"),
        ('op.create_check_constraint("c", "trades", "price > 0")', "constraint-missing-not-valid"),
        (
            'op.create_foreign_key("f", "trades", "users", ["user_id"], ["id"])',
            "adding-foreign-key-constraint",
        ),
    ],
)
def test_a_dangerous_revision_is_refused(
    dangerous: str, rule: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not lint_with(tmp_path, dangerous)
    assert rule in capfd.readouterr().out


def test_a_dangerous_downgrade_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not lint_with(tmp_path, "pass", 'op.drop_index("ix_trades_user_id")')
    printed = capfd.readouterr().out
    assert "require-concurrent-index-deletion" in printed
    assert "downgrade of a_revision.py" in printed


def test_a_downgrade_may_drop_what_was_added(tmp_path: Path) -> None:
    add = 'op.add_column("trades", sa.Column("note", sa.Text()))'
    assert lint_with(tmp_path, add, 'op.drop_column("trades", "note")')


def test_a_statement_that_means_it(tmp_path: Path) -> None:
    drop = "-- squawk-ignore ban-drop-column\\nALTER TABLE trades DROP COLUMN commission_asset"
    assert lint_with(tmp_path, f'op.execute("{drop}")')
