"""What reading a revision decides is reported: docstring, explicit names, dependencies."""

import ast

import pytest

from tests.support.probe_revisions import Revisions
from verification.reading import is_unnamed, problems


@pytest.mark.parametrize(
    "source",
    [
        'sa.CheckConstraint("x > 0")',
        'sa.CheckConstraint("x > 0", name="positive")',
        'op.create_index("ix", "t", ["c"])',
        'op.create_unique_constraint(None, "t", ["c"])',
        'op.drop_constraint("c", "t")',
        'sa.Column("id", sa.Integer(), primary_key=True)',
        'sa.Column("id", sa.Integer(), sa.ForeignKey("t.id"))',
    ],
)
def test_missing_names_are_detected(source: str) -> None:
    assert any(
        isinstance(node, ast.Call) and is_unnamed(node) for node in ast.walk(ast.parse(source))
    )


def test_what_a_person_has_to_write_is_listed(revisions: Revisions) -> None:
    revisions.add("probe", "pass  # TODO", docstring="TODO: what it does.\n\nWhy: TODO: why.\n")
    listed = [
        each
        for each in problems(revisions.project.scripts.get_revision("probe"))
        if "TODO" in each or "does nothing" in each
    ]
    assert listed.pop().startswith("upgrade() does nothing")
    assert [each.partition(": ")[0] for each in listed] == ["line 1", "line 3", "line 16"]
