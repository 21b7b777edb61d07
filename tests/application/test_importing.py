"""Importing the models has no side effect and loads no driver; every public name exists."""

import os
import subprocess
import sys

import pytest

WITHOUT_SIDE_EFFECTS = """
import socket, subprocess, sys

def forbidden(*arguments, **options):
    sys.exit("importing must not do this")

socket.socket.connect = subprocess.Popen.__init__ = forbidden
from models import ApiKey, Base, BotConfig, BotState, Trade, User
assert not {"asyncpg", "psycopg", "sqlalchemy.ext.asyncio"} & sys.modules.keys()
from models import *
import models
assert engine is SessionLocal.kw["bind"]
assert not hasattr(models, "Session")
from models.database import Base, SessionLocal, engine
"""


@pytest.mark.parametrize("variables", [{}, {"DATABASE_URL": "nonsense"}])
def test_importing_has_no_side_effect_and_loads_no_driver(variables: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIDE_EFFECTS],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
