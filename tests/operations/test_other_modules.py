"""Another module or package named ``models`` is refused by its path, and never used."""

import shutil
from itertools import product
from pathlib import Path

import pytest

from tests.support import commandline
from tests.trading_bot import ROOT

CONTENTS = {
    "a module": ("models.py", "x = 1\n"),
    "a package": ("models/__init__.py", "from sqlalchemy.orm import DeclarativeBase as Base\n"),
    "a package with a Base": (
        "models/__init__.py",
        "from sqlalchemy.orm import DeclarativeBase\nclass Base(DeclarativeBase): pass\n",
    ),
    "a module that fails": ("models.py", "import no_such_module\n"),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as a wheel has them."""
    site = tmp_path_factory.mktemp("site")
    for package in ("models", "trading_bot_schema"):
        shutil.copytree(ROOT / package, site / package)
    scripts = site / "trading_bot_schema" / "_alembic"
    shutil.copytree(ROOT / "alembic", scripts / "alembic")
    shutil.copy(ROOT / "alembic.ini", scripts)
    return site


@pytest.mark.parametrize(
    ("content", "command"),
    [*product(CONTENTS, ["upgrade head"]), *product(list(CONTENTS)[2:], ["check"])],
)
def test_in_the_working_directory(
    empty_database: str,
    installed: Path,
    tmp_path: Path,
    content: str,
    command: str,
) -> None:
    name, text = CONTENTS[content]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    result = commandline.run(
        *("trading_bot_schema", *command.split()),
        cwd=tmp_path,
        DATABASE_URL=empty_database,
        PYTHONPATH=str(installed),
    )
    message = result.refusal()
    assert f"The module models is {tmp_path / name}, which hides" in message
    assert str(installed / "models") in message
    assert "Run this in another directory, or rename that module." in message
    assert "pip install" not in message
