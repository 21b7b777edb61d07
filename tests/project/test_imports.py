"""Importing the models has no side effect; packages depend on each other in one direction."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import models
from tests.trading_bot import ROOT

WITHOUT_SIDE_EFFECTS = """
import socket, subprocess, sys

def forbidden(*arguments, **options):
    sys.exit("importing must not do this")

socket.socket.connect = subprocess.Popen.__init__ = forbidden
from models import ApiKey, Base, BotConfig, BotState, Trade, User
assert not {"asyncpg", "psycopg", "sqlalchemy.ext.asyncio"} & sys.modules.keys()
from models import SessionLocal, engine
from models.database import Base, SessionLocal, engine
"""


@pytest.mark.parametrize("url", [None, "", "nonsense"])
def test_importing_has_no_side_effect_and_loads_no_driver(
    url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIDE_EFFECTS], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_every_public_name_exists() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert models.engine is models.SessionLocal.kw["bind"]


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Session'"):
        models.Session  # noqa: B018


PACKAGES = ("alembic", "models", "trading_bot_schema", "verification", "tests", "tools")


def module_files() -> dict[str, Path]:
    """Return the file of each module of the project."""
    files = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = path
    return files


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


def import_graph() -> dict[str, set[str]]:
    files = module_files()
    graph = {}
    for module, path in files.items():
        names = set(imported_names(ast.parse(path.read_text())))
        # `from package import name` depends on the package, unless the name is a module.
        parents = {name.rpartition(".")[0] for name in names - files.keys()}
        graph[module] = (names | parents) & files.keys() - {module}
    return graph


def test_imports_have_no_cycle() -> None:
    # `models.__getattr__` imports `models.database`, which imports `models.base`, on demand.
    graph = import_graph()
    graph["models"].discard("models.database")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("models", {"alembic", "tests", "tools"}),
        ("trading_bot_schema", {"models", "tests", "tools"}),
        ("alembic", {"tests", "tools"}),
    ],
)
def test_packages_depend_in_one_direction(package: str, others: set[str]) -> None:
    forbidden = {
        f"{name} -> {module}"
        for name, modules in import_graph().items()
        for module in modules
        if name.split(".")[0] == package and module.split(".")[0] in others
    }
    assert not forbidden, f"{package} must not import {', '.join(sorted(others))}"
