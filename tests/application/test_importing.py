"""Importing the models has no side effect and loads no driver; every public name exists."""

import subprocess
import sys

import pytest

import models

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


@pytest.mark.parametrize("url", [None, "nonsense"])
def test_importing_has_no_side_effect_and_loads_no_driver(
    url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIDE_EFFECTS], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_public_names() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert models.engine is models.SessionLocal.kw["bind"]
    with pytest.raises(AttributeError, match="no attribute 'Session'"):
        models.Session  # noqa: B018
