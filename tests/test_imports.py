"""Importing the models is quick: no driver is imported, nor what only the engine needs."""

import subprocess
import sys

import pytest

import models


@pytest.mark.parametrize("module", ["asyncpg", "psycopg", "sqlalchemy.ext.asyncio"])
def test_models_do_without(module: str) -> None:
    code = f"import sys, models; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_everything_that_is_announced_is_there() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert models.engine is models.SessionLocal.kw["bind"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Session'"):
        models.Session  # noqa: B018
