"""The wheel migrates without a checkout, with its own models only."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import commandline
from tests.support.alembic_cli import AlembicCli, Result
from tests.trading_bot import HISTORY, ROOT
from verification import databases


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the unpacked wheel, as after an installation."""
    directory = tmp_path_factory.mktemp("site-packages")
    commandline.run(
        "hatchling", "build", "--target", "wheel", "--directory", str(directory)
    ).succeeded()
    (wheel,) = directory.glob("*.whl")
    shutil.unpack_archive(wheel, directory, "zip")
    return directory


def test_the_wheel_has_the_models_and_the_migrations(installed: Path) -> None:
    (record,) = installed.glob("*.dist-info/RECORD")
    names = {line.split(",")[0] for line in record.read_text().splitlines()}
    contents = {name for name in names if ".dist-info/" not in name}
    modules = (
        path
        for package in ("models", "trading_bot_schema")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".typed"}
    )
    migrations = (
        "alembic.ini",
        "alembic/env.py",
        "alembic/script.py.mako",
        "alembic/versions.sum",
    )
    revisions = (ROOT / "alembic" / "versions").glob("*.py")
    assert contents == {
        *(str(path.relative_to(ROOT)) for path in modules),
        *(f"trading_bot_schema/_alembic/{name}" for name in migrations),
        *(f"trading_bot_schema/_alembic/{path.relative_to(ROOT)}" for path in revisions),
    }


APPLICATION = """
from alembic import command
from trading_bot_schema.configuration import alembic_config

for revision in ("base", "head", "-1"):
    (command.upgrade if revision == "head" else command.downgrade)(alembic_config(), revision)
command.current(alembic_config())
"""
ENGINE = """
import asyncio
from models import engine
asyncio.run(engine.connect().start())
"""


def test_migrating_without_a_checkout(
    installed: Path,
    tmp_path: Path,
    empty_database: str,
    server: str,
    make_role: Callable[..., str],
) -> None:
    """By command and by an application; ``drift`` and ``plan`` by a role that only reads."""
    reader = databases.as_role(empty_database, make_role(member_of="pg_read_all_data"))
    (tmp_path / "application.py").write_text(APPLICATION)
    for url, command, output in (
        (empty_database, ("trading_bot_schema", "upgrade", "head"), ""),
        (empty_database, ("trading_bot_schema", "check"), "No new upgrade operations detected."),
        (reader, ("trading_bot_schema", "drift", "--scratch", server), "No drift"),
        (empty_database, ("application",), f"{HISTORY[-2].revision}\n"),
        (reader, ("trading_bot_schema", "plan"), "It would run."),
    ):
        commandline.run(
            *command, cwd=tmp_path, PYTHONPATH=str(installed), DATABASE_URL=url
        ).succeeded(output)


BASE = "from sqlalchemy.orm import DeclarativeBase"


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("models.py", "x = 1\n", "upgrade head"),
        ("models.py", "import no_such_module\n", "upgrade head"),
        ("models/__init__.py", f"{BASE} as Base\n", "upgrade head"),
        ("models/__init__.py", f"{BASE}\nclass Base(DeclarativeBase): pass\n", "check"),
    ],
    ids=["a module", "a module that fails", "a package", "a package with a Base"],
)
def test_other_models_in_the_working_directory_are_refused(
    installed: Path, tmp_path: Path, empty_database: str, name: str, text: str, command: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    message = commandline.run(
        *("trading_bot_schema", *command.split()),
        cwd=tmp_path,
        DATABASE_URL=empty_database,
        PYTHONPATH=str(installed),
    ).refusal(
        f"The module models is {tmp_path / name}, which hides",
        str(installed / "models"),
        "Run this in another directory, or rename that module.",
    )
    assert "pip install" not in message


def test_there_is_no_default_database(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(ENGINE)
    for command, message in (
        (("trading_bot_schema", "upgrade", "head"), "ERROR"),
        (("application",), "trading_bot_schema.url.DatabaseURLError:"),
    ):
        result = commandline.run(
            *command,
            cwd=tmp_path,
            PYTHONPATH=str(installed),
            DATABSE_URL="embedded:///.postgres",
        )
        assert result.status != 0
        (line,) = (line for line in result.stderr.splitlines() if "DATABASE_URL is" in line)
        assert message in line
        assert "not set. Set it to postgresql://" in line
        assert ("Traceback" in result.stderr) == (command == ("application",))
    assert not (tmp_path / ".postgres").exists()


def test_the_same_command_in_a_checkout(database: str, alembic_cli: AlembicCli) -> None:
    result = commandline.run("trading_bot_schema", "current", DATABASE_URL=database)
    assert result.stdout == alembic_cli.run("current", database=database).stdout != ""


def test_no_command(package_command: Callable[..., Result]) -> None:
    package_command(database="").ended(2, "too few arguments")


def test_a_public_index_refuses_the_wheel(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    assert "\nClassifier: Private :: Do Not Upload\n" in metadata.read_text()
