"""Each generated document that is out of date is reported, and written on request.

The contents are tested here for the diagram and the data dictionary, for ``docs/schema.sql`` in
``test_schema.py``, for the mutation table in ``test_mutation_table.py``, for the table of
dangerous operations in ``test_guide.py``, for the lines on locks in ``test_lock_lines.py``.
"""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from models import Base
from tests.support import commandline
from tools.document import marked
from tools.document.data_dictionary import dictionary
from tools.document.diagram import diagram
from verification.databases import ROOT

# For each document, a part whose change is detected without a database.
GENERATED = {
    "diagram": [("README.md", "varchar email UK"), ("README.tr.md", "varchar email UK")],
    "data-dictionary": [("docs/data-dictionary.md", "| `email` |")],
    "benchmarks": [("docs/benchmarks.md", "| 1 claim due bots | 2,000 |")],
    "schema": [("docs/schema.sql", "-- The schema at revision ")],
    "dangerous-operations": [
        ("CONTRIBUTING.md", "| drop a table | "),
        ("CONTRIBUTING.md", "Measured on PostgreSQL 15"),
    ],
    "mutation-table": [
        ("docs/conformance.md", "Measured on PostgreSQL 18 with Alembic "),
        ("docs/conformance.md", "| a table is missing |"),
    ],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    packages = ("alembic", "docs", "models", "tests", "tools", "trading_bot_schema")
    for name in packages:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CONTRIBUTING.md", "README.md", "README.tr.md", "alembic.ini"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def damage(project: Path, path: str, part: str) -> None:
    text = (project / path).read_text(encoding="utf-8")
    assert text.count(part) == 1, f"{path}: {part}"
    (project / path).write_text(text.replace(part, part + "0"), encoding="utf-8")


def test_the_documents_are_up_to_date() -> None:
    commandline.run("tools.document", "--check").succeeded()


@pytest.mark.parametrize(
    ("name", "path", "part"),
    [(name, path, part) for name, parts in GENERATED.items() for path, part in parts],
)
def test_an_outdated_document_is_reported(name: str, path: str, part: str, project: Path) -> None:
    damage(project, path, part)
    result = commandline.run("tools.document", "--check", cwd=project)
    assert result.status == 1
    assert result.stderr == f"Out of date: {path}. Run: python -m tools.document {name}\n"


def test_outdated_documents_are_written(project: Path) -> None:
    # Measuring these takes a minute: tox -e documents.
    names = [name for name in GENERATED if name not in ("dangerous-operations", "mutation-table")]
    for path, part in {path: part for name in names for path, part in GENERATED[name]}.items():
        damage(project, path, part)
    result = commandline.run("tools.document", *names, cwd=project).succeeded()
    paths = [path for name in names for path, _ in GENERATED[name]]
    assert result.stdout == "".join(f"Wrote {path}\n" for path in paths)
    for path in paths:
        assert (project / path).read_text() == (ROOT / path).read_text()


def test_measuring_reports_what_needs_a_database(project: Path) -> None:
    damage(project, "docs/schema.sql", "CREATE TABLE public.users")
    quick = commandline.run("tools.document", "--check", cwd=project)
    measured = commandline.run("tools.document", "schema", "--check", "--measure", cwd=project)
    assert (quick.status, measured.status) == (0, 1)
    assert measured.stderr.startswith("Out of date: docs/schema.sql. Run: ")


def test_a_missing_line_of_the_history_is_reported_and_appended(project: Path) -> None:
    path = project / "alembic" / "versions.sum"
    text = path.read_text()
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    result = commandline.run("tools.document", "--check", cwd=project)
    command = "python -m tools.document versions-sum"
    assert result.stderr == f"Out of date: alembic/versions.sum. Run: {command}\n"
    result = commandline.run("tools.document", "versions-sum", cwd=project)
    assert (result.status, path.read_text()) == (0, text), result.stderr


def test_an_unknown_document_is_refused() -> None:
    result = commandline.run("tools.document", "schemas")
    assert result.status == 2
    assert "unknown document schemas; choose from diagram, " in result.stderr


def test_a_file_without_the_marks_is_refused(project: Path) -> None:
    (project / "README.md").write_text("# A project\n")
    result = commandline.run("tools.document", "diagram", cwd=project)
    assert result.status == 1
    assert result.stderr.startswith("README.md has no place for the diagram: add the lines <!--")


def test_only_the_part_between_the_marks_changes() -> None:
    begin, end = (
        f"<!-- x: {mark} -->\n" for mark in ("generated by python -m tools.document", "end")
    )
    text = f"before\n{begin}old\n{end}after\n"
    assert marked(text, "x", "new\n") == f"before\n{begin}new\n{end}after\n"


@pytest.fixture
def changed() -> MetaData:
    """The models' metadata with one more table."""
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    column = Column("bot_id", Integer, ForeignKey("bot_configs.id"), comment="Which bot.")
    Table("notes", metadata, column, comment="Notes.")
    return metadata


def test_a_change_of_the_models_changes_the_documents(changed: MetaData) -> None:
    assert "| `bot_id` | integer | null |  | FK | Which bot. |" in dictionary(changed)
    assert "        integer bot_id FK" in diagram(changed)


def test_the_lines_between_tables() -> None:
    drawn = [line.strip() for line in diagram(Base.metadata) if "--" in line]
    assert drawn == [
        'users ||--o{ api_keys : "on delete cascade"',
        'users ||--o{ bot_configs : "on delete cascade"',
        'bot_configs ||--o| bot_states : "on delete cascade"',
        'bot_configs ||--o{ trades : "on delete restrict"',
        'users ||--o{ trades : "on delete restrict"',
    ]
