"""Every revision follows the project's rules: linear history, docstrings, explicit names."""

import ast
import re
import sys
from pathlib import Path

import pytest
from alembic.script import Script

from verification.history import HISTORY, SCRIPTS, each_revision, path

# Constraints and indexes have explicit names: generated ones depend on the version of PostgreSQL
# or the convention, and later revisions have to name them.
NAMED_BY_KEYWORD = {
    "PrimaryKeyConstraint",
    "UniqueConstraint",
    "CheckConstraint",
    "ForeignKeyConstraint",
    "ExcludeConstraint",
}
NAMED_BY_FIRST_ARGUMENT = {
    "Index",
    "create_index",
    "create_primary_key",
    "create_unique_constraint",
    "create_check_constraint",
    "create_exclude_constraint",
    "create_foreign_key",
    "drop_index",
    "drop_constraint",
}
UNNAMING_ARGUMENTS = {"primary_key", "unique", "index"}


def tree(revision: Script) -> ast.Module:
    return ast.parse(Path(revision.path).read_text())


def name_of(call: ast.expr) -> str:
    """Return the last part of the called name, such as ``create_table``."""
    function = call.func if isinstance(call, ast.Call) else call
    return getattr(function, "attr", getattr(function, "id", ""))


def function(revision: Script, name: str) -> ast.FunctionDef:
    (definition,) = (
        node
        for node in tree(revision).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    return definition


def does_nothing(function: ast.FunctionDef) -> bool:
    return all(
        isinstance(statement, ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in function.body
    )


def is_unnamed(call: ast.Call) -> bool:
    called = name_of(call)
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if called in NAMED_BY_KEYWORD:
        return "name" not in keywords or name_of(keywords["name"]) != "f"
    if called in NAMED_BY_FIRST_ARGUMENT:
        name = call.args[0] if call.args else next(iter(keywords.values()))
        return name_of(name) != "f"
    if called == "Column":
        return bool(UNNAMING_ARGUMENTS & keywords.keys())
    return called == "ForeignKey"


def test_history_is_linear() -> None:
    assert len(SCRIPTS.get_heads()) == 1, "two heads: put one revision after the other"
    assert len(SCRIPTS.get_bases()) == 1
    for revision in HISTORY:
        assert not isinstance(revision.down_revision, tuple), f"{path(revision)} is a merge"
        assert not revision.dependencies, path(revision)
        assert not revision.branch_labels, path(revision)


def test_file_names_sort_by_history() -> None:
    files = [Path(revision.path).name for revision in HISTORY]
    assert files == sorted(files)
    assert len(files) == len(list(Path(SCRIPTS.versions).glob("*.py")))


@each_revision
def test_file_name_has_the_date_and_the_revision(revision: Script) -> None:
    created = re.search(r"^Create Date: (.{16})", revision.longdoc, re.MULTILINE)
    assert created, "the docstring has no Create Date"
    moment = re.sub(r"[- ]", "_", created[1]).replace(":", "")
    name = Path(revision.path).name
    assert re.fullmatch(rf"{moment}-{revision.revision}_\w+\.py", name), "as alembic.ini says"


@each_revision
def test_docstring_has_the_required_lines(revision: Script) -> None:
    documented = ast.get_docstring(tree(revision)) or ""
    assert re.match(r"[A-Z].+\.\n", documented), "the first line is a sentence"
    for heading in ("Why", "Locks", "Old code", "Downgrade"):
        assert re.search(rf"^{heading}: \S", documented, re.MULTILINE), f"no line {heading}:"
    assert re.search(r"^Downgrade: (loses|keeps all data)", documented, re.MULTILINE), (
        "say 'Downgrade: keeps all data.' or 'Downgrade: loses' with tables and columns"
    )
    for name in ("upgrade", "downgrade"):
        assert ast.get_docstring(function(revision, name)), f"{name}() has no docstring"


@each_revision
def test_the_template_is_filled_in(revision: Script) -> None:
    source = Path(revision.path).read_text()
    assert "commands auto generated" not in source
    assert "please adjust" not in source
    for node in ast.walk(tree(revision)):
        if isinstance(node, (ast.Module, ast.FunctionDef)):
            assert not re.search(r"<[^<>]+>", ast.get_docstring(node) or ""), "fill in the <...>"


@each_revision
def test_revision_does_not_depend_on_the_project(revision: Script) -> None:
    # The models change; the effect of a revision must not.
    for node in ast.walk(tree(revision)):
        match node:
            case ast.Import():
                modules = [alias.name for alias in node.names]
            case ast.ImportFrom():
                assert not node.level, "a relative import"
                modules = [node.module or ""]
            case ast.Call():
                assert name_of(node) not in {"import_module", "__import__", "exec", "eval"}
                continue
            case _:
                continue
        # A separate file would not be sealed in alembic/versions.sum.
        allowed = {"alembic", "sqlalchemy", *sys.stdlib_module_names}
        foreign = [name for name in modules if name.split(".")[0] not in allowed]
        assert not foreign, f"imports {foreign[0]}"


@each_revision
def test_constraints_and_indexes_have_explicit_names(revision: Script) -> None:
    unnamed = [
        f"line {node.lineno}: {ast.unparse(node)[:80]}"
        for node in ast.walk(tree(revision))
        if isinstance(node, ast.Call) and is_unnamed(node)
    ]
    assert not unnamed, "give it a name with op.f(...)"


@each_revision
def test_downgrade_does_something(revision: Script) -> None:
    upgrade, downgrade = function(revision, "upgrade"), function(revision, "downgrade")
    assert does_nothing(upgrade) or not does_nothing(downgrade), "downgrade() does nothing"


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
