"""Squawk rejects statements that would block a live database, online and in downgrades."""

import pytest

from tests.support.probe_revisions import ADD_COLUMN, DROP_COLUMN, Revisions
from verification.lint import findings


def probe_findings(revisions: Revisions) -> list[str]:
    project = revisions.project
    return list(findings(project, project.scripts.get_revision("probe")))


@pytest.mark.parametrize(
    ("dangerous", "rule"),
    [
        (
            'op.add_column("book", sa.Column("note", sa.Text(), nullable=False))',
            "adding-required-field",
        ),
        ('op.alter_column("book", "pages", nullable=False)', "adding-not-nullable-field"),
        ('op.alter_column("book", "price", type_=sa.Float())', "changing-column-type"),
        ('op.alter_column("book", "pages", new_column_name="leaves")', "renaming-column"),
        ('op.drop_column("book", "pages")', "ban-drop-column"),
        ('op.create_index("ix", "book", ["title"])', "require-concurrent-index-creation"),
        (
            'op.create_index("ix", "book", ["title"], postgresql_concurrently=True)',
            "ban-concurrent-index-creation-in-transaction",
        ),
        ('op.create_unique_constraint("u", "book", ["title"])', "disallowed-unique-constraint"),
        ('op.create_check_constraint("c", "book", "price > 0")', "constraint-missing-not-valid"),
        (
            'op.create_foreign_key("f", "author", "country", ["name"], ["name"])',
            "adding-foreign-key-constraint",
        ),
    ],
)
def test_a_dangerous_revision_is_refused(dangerous: str, rule: str, revisions: Revisions) -> None:
    revisions.add("probe", dangerous)
    assert rule in "".join(probe_findings(revisions))


def test_a_dangerous_downgrade_is_refused(revisions: Revisions) -> None:
    revisions.add("probe", "pass", 'op.drop_index("ix_book_sort_title")')
    printed = "".join(probe_findings(revisions))
    assert "require-concurrent-index-deletion" in printed
    assert "downgrade of probe.py" in printed


def test_a_downgrade_may_drop_what_was_added(revisions: Revisions) -> None:
    added = ("book", "probe")
    revisions.add("probe", ADD_COLUMN.format(*added), DROP_COLUMN.format(*added))
    assert probe_findings(revisions) == []
