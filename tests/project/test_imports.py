"""Packages import each other in one direction, and without a cycle."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.trading_bot import ROOT

# What each package may import of the others.
ALLOWED = {
    "models": {"trading_bot_schema"},
    "trading_bot_schema": set(),
    "verification": {"trading_bot_schema"},
    "alembic": {"models", "trading_bot_schema"},
    "tools": {"models", "trading_bot_schema", "verification"},
    "examples": {"models", "trading_bot_schema"},
    "tests": {"models", "trading_bot_schema", "verification", "examples"},  # its exchange
}


def imported_names(node: ast.AST) -> Iterator[str]:
    """Yield the imports of a module, except those for type hints only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported_names(child)


@cache
def import_graph() -> dict[str, set[str]]:
    """Return the modules of the project that each of them imports."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
    }
    graph = {}
    for module, path in files.items():
        names = set(imported_names(ast.parse(path.read_text(encoding="utf-8"))))
        # `from package import name` depends on the package, unless the name is a module.
        parents = {name.rpartition(".")[0] for name in names - files.keys()}
        graph[module] = (names | parents) & files.keys() - {module}
    return graph


def test_every_top_level_directory_with_code_is_listed() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    assert {name for name in found if name[0] != "."} == ALLOWED.keys()


def test_imports_have_no_cycle() -> None:
    # `models.__getattr__` imports `models.database`, which imports `models.base`, on demand.
    graph = import_graph()
    models = {"models": graph["models"] - {"models.database"}}
    try:
        TopologicalSorter(graph | models).prepare()
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


def test_packages_import_in_one_direction() -> None:
    assert not {
        f"{name} -> {module}"
        for name, modules in import_graph().items()
        for module in modules
        if (top := module.split(".")[0]) != (own := name.split(".")[0]) and top not in ALLOWED[own]
    }, "move what both need to verification, trading_bot_schema or models"
