"""Each generated document that is out of date is reported, and written on request."""

import shutil
from pathlib import Path

import pytest

from tests.support import commandline
from tests.trading_bot import ROOT

COMMAND = "python -m tools.document"
# A part of each document.
GENERATED = {
    "README.md": "erDiagram",
    "docs/data-dictionary.md": "| column | type |",
    "docs/schema.sql": "CREATE TABLE ",
}
TABLES = """
from sqlalchemy import Column, ForeignKey, Integer, Table
Table("owners", Base.metadata, Column("id", Integer, primary_key=True))
Table("notes", Base.metadata, Column("owner", ForeignKey("owners.id"), comment="Whose | note."))
Table("states", Base.metadata, Column("id", ForeignKey("owners.id"), primary_key=True))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    directories = "alembic docs models tests tools trading_bot_schema verification"
    for name in directories.split():
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_outdated_documents_are_reported_and_written(project: Path) -> None:
    for path, part in GENERATED.items():
        text = (project / path).read_text(encoding="utf-8")
        assert part in text
        (project / path).write_text(text.replace(part, f"{part}0"), encoding="utf-8")
    checked = commandline.run("tools.document", "--check", cwd=project)
    files = "README.md, docs/data-dictionary.md"  # the other needs a server
    message = f"Out of date: {files}. Run: {COMMAND}\n"
    assert (checked.status, checked.stderr) == (1, message)
    written = commandline.run("tools.document", cwd=project).succeeded()
    assert written.stdout == "".join(f"Wrote {path}\n" for path in GENERATED)
    for path in GENERATED:
        written_text = (project / path).read_text(encoding="utf-8")
        assert written_text == (ROOT / path).read_text(encoding="utf-8"), f"run {COMMAND}"


def test_a_change_of_the_models_changes_the_documents(project: Path) -> None:
    models = project / "models" / "__init__.py"
    models.write_text(models.read_text() + TABLES)
    commandline.run("tools.document", cwd=project).succeeded()
    dictionary = (project / "docs/data-dictionary.md").read_text().splitlines()
    assert r"| `owner` | integer | null |  | FK | Whose \| note. |" in dictionary
    diagram = {line.strip() for line in (project / "README.md").read_text().splitlines()}
    edges = ("owners ||--o{ notes", "owners ||--o| states")
    assert {f'{edge} : "on delete no action"' for edge in edges} <= diagram


def test_a_file_without_the_marks_is_refused(project: Path) -> None:
    (project / "README.md").write_text("# A project\n")
    commandline.run("tools.document", "--check", cwd=project).ended(
        1, "README.md has no place for the diagram: add the lines <!--"
    )
