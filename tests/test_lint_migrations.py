"""Squawk looks at every revision, and refuses what would hurt a live database.

The recipes of CONTRIBUTING.md pass it, too (``test_guide.py``).
"""

import os
import re
from pathlib import Path
from textwrap import indent
from uuid import uuid4

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.support import commandline, databases
from tests.support.databases import ROOT
from tools.lint_migrations import lint

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {before!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
"""


def config_with(directory: Path, *upgrades: str, downgrade: str = "pass") -> Config:
    """Write revisions that follow the project's; return Alembic's configuration with both."""
    config = databases.alembic_config()
    before = ScriptDirectory.from_config(config).get_current_head()
    for upgrade in upgrades:
        name = uuid4().hex[:12]
        (directory / f"{name}_a_revision.py").write_text(
            REVISION.format(
                name=name,
                before=before,
                upgrade=indent(upgrade, "    "),
                downgrade=indent(downgrade, "    "),
            )
        )
        before = name
    versions = os.pathsep.join((str(ROOT / "alembic" / "versions"), str(directory)))
    config.set_main_option("version_locations", versions)
    return config


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
    assert not lint(config_with(tmp_path, dangerous))
    assert rule in capfd.readouterr().out


def test_a_dangerous_downgrade_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drop = 'op.drop_index("ix_trades_user_id")'
    assert not lint(config_with(tmp_path, "pass", downgrade=drop))
    printed = capfd.readouterr().out
    assert "require-concurrent-index-deletion" in printed
    assert re.search(r"downgrade of \w+_a_revision\.py", printed)


def test_a_downgrade_may_drop_what_was_added(tmp_path: Path) -> None:
    add = 'op.add_column("trades", sa.Column("note", sa.Text()))'
    drop = 'op.drop_column("trades", "note")'
    assert lint(config_with(tmp_path, add, downgrade=drop))
