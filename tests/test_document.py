"""The diagram and the data dictionary say what the models say."""

from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

from models import Base
from tests.support import commandline
from tests.support.databases import ROOT
from tools.document import diagram, dictionary, documents


def test_the_documents_are_up_to_date() -> None:
    done = commandline.run("tools.document", "--check")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def changed() -> MetaData:
    """The models' metadata with one more table."""
    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    column = Column("bot_id", Integer, ForeignKey("bot_configs.id"), comment="Which bot.")
    Table("notes", metadata, column, comment="Notes.")
    return metadata


def test_a_change_of_the_models_shows(changed: MetaData) -> None:
    before, after = documents(Base.metadata, ROOT), documents(changed, ROOT)
    assert all(before[path] != after[path] for path in before)
    assert "| `bot_id` | integer | null |  | FK | Which bot. |" in dictionary(changed)
    assert "        integer bot_id FK" in diagram(changed)


def test_every_line_between_tables_is_right() -> None:
    drawn = [line.strip() for line in diagram(Base.metadata) if "--" in line]
    assert drawn == [
        'users ||--o{ api_keys : "on delete cascade"',
        'users ||--o{ bot_configs : "on delete cascade"',
        'bot_configs ||--o| bot_states : "on delete cascade"',
        'bot_configs ||--o{ trades : "on delete restrict"',
        'users ||--o{ trades : "on delete restrict"',
    ]


def test_a_readme_without_the_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A project\n")
    with pytest.raises(ValueError, match=r"^README\.md has no place for the diagram"):
        documents(Base.metadata, tmp_path)
