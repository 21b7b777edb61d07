"""Squawk reports what only the text of a revision shows, and decides nothing that is observed."""

import pytest

from tests.support.probe_revisions import ADD_COLUMN, DROP_COLUMN, Revisions
from verification.lint import OF_UPGRADES, RULES, findings

# By the rule that reports it.
REPORTED = {
    "ban-char-field": 'op.add_column("book", sa.Column("note", sa.CHAR(3)))',
    "prefer-identity": 'op.execute("CREATE TABLE probe (id bigserial PRIMARY KEY)")',
    "prefer-timestamp-tz": 'op.add_column("book", sa.Column("at", sa.DateTime()))',
    "identifier-too-long": f'op.execute("CREATE VIEW {"v" * 64} AS SELECT 1")',
    "transaction-nesting": 'op.execute("COMMIT")',
    "ban-drop-database": 'op.execute("DROP DATABASE production")',
}


def probe_findings(revisions: Revisions) -> list[str]:
    project = revisions.project
    return list(findings(project, project.scripts.get_revision("probe")))


@pytest.mark.parametrize("rule", RULES + OF_UPGRADES)
def test_what_only_a_text_shows_is_reported(rule: str, revisions: Revisions) -> None:
    revisions.add("probe", REPORTED[rule], REPORTED[rule])
    upgrade, *downgrade = (each for each in probe_findings(revisions) if f"[{rule}]" in each)
    assert upgrade.startswith("upgrade(): ")
    assert [each.partition(": ")[0] for each in downgrade] == ["downgrade()"] * (rule in RULES)


@pytest.mark.parametrize(
    ("upgrade", "downgrade"),
    [
        ('op.drop_index("ix_book_sort_title")', 'op.create_index("ix", "book", ["title"])'),
        ('op.drop_constraint("ck_staff_wage_positive", "staff")', 'op.drop_table("staff")'),
        ('op.alter_column("book", "title", nullable=True)', 'op.execute("DROP FUNCTION f()")'),
        (
            DROP_COLUMN.format("staff", "nickname"),
            'op.create_check_constraint("ck", "staff", "id > 0")',
        ),
        (ADD_COLUMN.format("book", "probe"), DROP_COLUMN.format("book", "probe")),
    ],
)
def test_what_is_observed_is_not(upgrade: str, downgrade: str, revisions: Revisions) -> None:
    revisions.add("probe", upgrade, downgrade)
    assert probe_findings(revisions) == []
