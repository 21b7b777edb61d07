"""The project on which verification is tested: see ``tests/verification/schema/``."""

from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.verification.schema.models import metadata
from verification import Project

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path(__file__).parent / "schema"


def _engine(url: str, **options: Any) -> AsyncEngine:
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), **options)


LIBRARY = Project(
    root=ROOT,
    ini=SCHEMA.parent / "alembic.ini",
    metadata=metadata,
    rows={},
    rows_file="tests/verification/project.py",
    engine=_engine,
    guide=ROOT / "docs" / "recipes.md",
    sealed=SCHEMA / "versions.sum",
    roles=SCHEMA / "roles.sql",
)
