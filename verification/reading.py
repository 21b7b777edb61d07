"""The rules for revisions that reading their code decides: docstring, names, imports."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from alembic.script import Script

from trading_bot_schema import docstrings

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
ALLOWED_MODULES = {"alembic", "sqlalchemy", "collections", "decimal", "textwrap", "typing"}
"""The SQL of a revision depends on itself and the database only: not on the project's code, which
changes, nor on files, the clock, random numbers or the environment."""
FORBIDDEN_CALLS = {
    **dict.fromkeys(("import_module", "__import__", "exec", "eval"), "runs other code"),
    "open": "depends on a file",
    **dict.fromkeys(("hash", "id", "set", "frozenset"), "differs from run to run"),
}
FORBIDDEN_ATTRIBUTES = {"opts", "environment_context"}
"""Through them, the context of Alembic has the models."""


def problems(script: Script) -> Iterator[str]:
    """Yield where a revision breaks a rule."""
    source = Path(script.path).read_text(encoding="utf-8")
    tree = ast.parse(source)
    yield from _file_name(script)
    yield from _docstring(tree)
    for heading in dict.fromkeys(name for name, _ in docstrings.lines(script.longdoc)):
        try:
            docstrings.line(script.longdoc, heading)
        except docstrings.DocstringError as error:
            if heading != "Upgrade":  # which may say both what it changes and what it loses
                yield str(error)
    for number, text in enumerate(source.splitlines(), start=1):
        if re.search(r"\bTODO\b", text):
            yield f"line {number}: {text.strip()} - write it, without the word TODO"
    for node in ast.walk(tree):
        yield from _dependencies(node)
        if isinstance(node, ast.Call) and is_unnamed(node):
            call = ast.unparse(node)[:80]
            yield f"line {node.lineno}: {call}: give it an explicit name with op.f(...)"
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if missing := {"upgrade", "downgrade"} - functions.keys():
        yield f"it has no function {' and '.join(sorted(missing))}"
    for name, function in functions.items():
        if not ast.get_docstring(function):
            yield f"{name}() has no docstring"
    upgrade = functions.get("upgrade")
    does_nothing = upgrade and not any(isinstance(node, ast.Call) for node in ast.walk(upgrade))
    if does_nothing and not script.is_merge_point:
        yield "upgrade() does nothing: is a new model imported in the package of the models?"


def _file_name(script: Script) -> Iterator[str]:
    created = re.search(r"^Create Date: (.{19})", script.longdoc, re.MULTILINE)
    if not created:
        yield "the docstring has no Create Date"
        return
    moment = re.sub(r"[- ]", "_", created[1]).replace(":", "")
    name = Path(script.path).name
    if not re.fullmatch(rf"{moment[:-2]}({moment[-2:]})?-{script.revision}_\w*\w\.py", name):
        yield f"{name} should be {moment}-{script.revision}_<title>.py, as alembic.ini says"


def _docstring(tree: ast.Module) -> Iterator[str]:
    documented = ast.get_docstring(tree) or ""
    if not re.match(r"[A-Z].+\.\n", documented):
        yield "the first line of the docstring should be a sentence"
    if not re.search(r"^Why: \S", documented, re.MULTILINE):
        yield "the docstring has no line Why:, with the reason for the revision"


def _dependencies(node: ast.AST) -> Iterator[str]:
    modules: list[str] = []
    match node:
        case ast.Import():
            modules = [alias.name for alias in node.names]
        case ast.ImportFrom():
            modules = ["." if node.level else node.module or ""]
        case ast.Call() if reason := FORBIDDEN_CALLS.get(name_of(node)):
            yield f"line {node.lineno}: {name_of(node)}() {reason}"
        case ast.Set() | ast.SetComp():
            yield f"line {node.lineno}: the order of a set differs from run to run: use a tuple"
        case ast.Attribute() if node.attr in FORBIDDEN_ATTRIBUTES:
            yield f"line {node.lineno}: reads .{node.attr}, and so the models, which change"
    for module in modules:
        if module.split(".")[0] not in ALLOWED_MODULES:
            standard = module.split(".")[0] in sys.stdlib_module_names
            reason = "the SQL would depend on it" if standard else "its code changes"
            yield f"imports {module}: {reason}. A revision depends on itself and the database only"


def name_of(call: ast.expr) -> str:
    """Return the last part of the called name, such as ``create_table``."""
    function = call.func if isinstance(call, ast.Call) else call
    return getattr(function, "attr", getattr(function, "id", ""))


def is_unnamed(call: ast.Call) -> bool:
    """Return whether a call creates a constraint or an index without an explicit name."""
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
