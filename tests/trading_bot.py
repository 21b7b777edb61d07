"""What :mod:`verification` needs to know of this project."""

import inspect
from pathlib import Path

from models import Base
from models.database import make_engine
from tests.rows import ROWS
from tests.workload import BotWorkload
from verification import Project

ROOT = Path(__file__).resolve().parents[1]

PROJECT = Project(
    root=ROOT,
    ini=ROOT / "alembic.ini",
    metadata=Base.metadata,
    rows=ROWS,
    rows_file="tests/rows.py",
    engine=make_engine,
    guide=ROOT / "docs" / "recipes.md",
    sealed=ROOT / "alembic" / "versions.sum",
    roles=ROOT / "docs" / "roles.sql",
    model_files={
        mapper.class_.__tablename__: str(Path(inspect.getfile(mapper.class_)).relative_to(ROOT))
        for mapper in Base.registry.mappers
    },
    workload=BotWorkload(),
)
HISTORY, HEAD = PROJECT.history, PROJECT.head
