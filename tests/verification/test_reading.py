"""What reading a revision decides is reported: docstring, explicit names, dependencies."""

import ast

import pytest

from verification.reading import is_unnamed


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
