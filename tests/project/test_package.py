"""The wheel migrates without a checkout."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import inspect

from tests.support import commandline
from tests.trading_bot import PROJECT, ROOT
from verification import databases


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    commandline.run(
        "hatchling", "build", "--target", "wheel", "--directory", str(directory)
    ).succeeded()
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """Directory of the unpacked wheel, as after an installation."""
    directory = tmp_path / "site-packages"
    with ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def test_the_wheel_has_the_models_and_the_migrations(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        contents = {name for name in archive.namelist() if ".dist-info/" not in name}
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


def test_migrating_without_a_checkout(
    installed: Path, tmp_path: Path, empty_database: str
) -> None:
    environment = {"PYTHONPATH": str(installed), "DATABASE_URL": empty_database}
    for command in ("upgrade head", "check", "downgrade base", "upgrade head", "history"):
        result = commandline.run(
            "trading_bot_schema", *command.split(), cwd=tmp_path, **environment
        ).succeeded()
    assert "(head)" in result.stdout
    with databases.sync_engine(empty_database).connect() as connection:
        assert "trades" in inspect(connection).get_table_names()


def test_plan_and_drift_without_a_checkout_for_a_role_that_may_only_read(
    installed: Path,
    tmp_path: Path,
    database: str,
    server: str,
    make_role: Callable[..., str],
) -> None:
    PROJECT.migrate(database, "-1")
    url = databases.as_role(database, make_role(member_of="pg_read_all_data"))
    environment = {"PYTHONPATH": str(installed), "DATABASE_URL": url}
    result = commandline.run("trading_bot_schema", "plan", cwd=tmp_path, **environment).succeeded()
    assert "It would run." in result.stdout
    arguments = ("trading_bot_schema", "drift", "--scratch", server)
    result = commandline.run(*arguments, cwd=tmp_path, **environment).succeeded()
    assert "No drift" in result.stdout


def test_an_application_can_migrate(installed: Path, tmp_path: Path, empty_database: str) -> None:
    (tmp_path / "application.py").write_text(
        "from alembic import command\n"
        "from trading_bot_schema.configuration import alembic_config\n"
        "command.upgrade(alembic_config(), 'head')\n"
        "command.current(alembic_config())\n"
    )
    result = commandline.run(
        "application", cwd=tmp_path, PYTHONPATH=str(installed), DATABASE_URL=empty_database
    ).succeeded()
    assert "(head)" in result.stdout


@pytest.mark.parametrize("variable", ["OTHER", "DATABSE_URL"])
def test_there_is_no_default_database(installed: Path, tmp_path: Path, variable: str) -> None:
    environment = {"PYTHONPATH": str(installed), variable: "embedded:///.postgres"}
    result = commandline.run("trading_bot_schema", "upgrade", "head", cwd=tmp_path, **environment)
    assert result.status != 0
    assert "DATABASE_URL is not set. Set it to postgresql://" in result.stderr
    assert "Traceback" not in result.stderr
    (tmp_path / "application.py").write_text(
        "import asyncio\nfrom models import engine\nasyncio.run(engine.connect().start())\n"
    )
    result = commandline.run("application", cwd=tmp_path, **environment)
    assert "DatabaseURLError: DATABASE_URL is not set." in result.stderr
    assert not (tmp_path / ".postgres").exists()


def test_the_same_command_in_a_checkout(database: str) -> None:
    result = commandline.run("trading_bot_schema", "current", DATABASE_URL=database)
    alembic = commandline.run("alembic", "current", DATABASE_URL=database)
    assert result.stdout == alembic.stdout != ""


def test_no_command() -> None:
    result = commandline.run("trading_bot_schema")
    assert result.status == 2
    assert "too few arguments" in result.stderr


def test_a_public_index_refuses_the_wheel(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert "\nClassifier: Private :: Do Not Upload\n" in metadata
