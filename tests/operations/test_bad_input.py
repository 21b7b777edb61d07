"""Bad input causes a one-line error and a non-zero status, changes nothing and exposes no secret.

Each case runs the real command line twice, the second time with a traceback and every logger at
DEBUG.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.operations.landed import HISTORY
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from tests.trading_bot import ROOT
from trading_bot_schema import embedded

FIRST = HISTORY[0].revision
SECRET = "hunter2"  # noqa: S105


@pytest.fixture(scope="session")
def debug_ini(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The project's configuration, with every logger at DEBUG."""
    text = (ROOT / "alembic.ini").read_text().replace("%(here)s", str(ROOT))
    text = re.sub("level = (INFO|WARNING)", "level = DEBUG", text)
    # psycopg has its own level.
    text = text.replace("keys = root,", "keys = root,psycopg,")
    text += "\n[logger_psycopg]\nlevel = DEBUG\nhandlers =\nqualname = psycopg\n"
    path = tmp_path_factory.mktemp("debug") / "alembic.ini"
    path.write_text(text)
    return str(path)


@pytest.fixture
def refused(alembic_cli: AlembicCli, debug_ini: str) -> Callable[..., str]:
    """Run a command that must fail, and return its message, which must have all parts."""

    def run(database: str, *parts: str) -> str:
        arguments = ("-x", "connect_wait=0", "upgrade", "head")
        result = alembic_cli.run(*arguments, database=database)
        debug = alembic_cli.run("--raiseerr", "-c", debug_ini, *arguments, database=database)
        line = result.refusal(*parts)
        assert line.startswith("ERROR [alembic.util.messaging] "), line
        assert "Traceback (most recent call last)" in debug.stderr
        assert SECRET not in result.output + debug.output
        return line

    return run


@pytest.mark.parametrize(
    ("url", "messages"),
    [
        ("", ["DATABASE_URL is set but empty", "unset it"]),
        (
            f"postgresql://user:@1@{SECRET}@host/db",
            [
                "malformed. It should look like postgresql://user:password@host:5432/database",
                "write @ as %40",
            ],
        ),
        (f"postgresql://user:{SECRET}@host.invalid/db", ["host.invalid", "Check DATABASE_URL"]),
        (
            f"postgresql://user:{SECRET}@127.0.0.1:1/db",
            ["Connection refused", "Check that it is up, and host and port in DATABASE_URL."],
        ),
        (
            {"database": "no_such_database"},
            ['database "no_such_database" does not exist', "Check DATABASE_URL"],
        ),
        (
            {"username": "no_such_user", "password": SECRET},
            ["no_such_user", "Check DATABASE_URL"],
        ),
        (
            {"password": f"{SECRET}@%/"},
            ['password authentication failed for user "bot"', "Check DATABASE_URL"],
        ),
    ],
)
def test_bad_url(
    refused: Callable[..., str],
    password_server: str,
    url: str | dict[str, Any],
    messages: list[str],
) -> None:
    """A URL, or what is other than in that of a server."""
    if isinstance(url, dict):
        url = make_url(password_server).set(**url).render_as_string(hide_password=False)
    refused(url, *messages)


def test_unwritable_data_directory(refused: Callable[..., str], reachable_directory: Path) -> None:
    home = reachable_directory / "server"
    # No user, not even root, can write below a file.
    home.write_text("not a directory")
    for path in (home, home / "deeper" / "server"):
        refused(
            f"embedded:///{path}",
            f"The embedded PostgreSQL cannot use {path}: Not a directory.",
            "Make the directory writable, or set DATABASE_URL to another server.",
        )
    assert home.read_text() == "not a directory"


def test_corrupted_data_directory(refused: Callable[..., str], reachable_directory: Path) -> None:
    home = reachable_directory / "server"
    embedded.start(home, {"fsync": "off"})
    embedded.stop(home)
    version_file = home.resolve() / "data" / "PG_VERSION"
    for corrupt, reason in (
        (version_file.unlink, "is not a database cluster directory"),  # pg_ctl's message
        (lambda: version_file.write_text("1\n"), "files are incompatible"),  # the server's log
    ):
        corrupt()
        line = refused(f"embedded:///{home}", f"to start afresh without its data, delete {home}")
        assert re.search(f"The embedded PostgreSQL does not start: .*{reason}", line)


@pytest.mark.parametrize(
    ("correct", "wrong", "message"),
    [
        # With another length, or Python may take the file for the one that it has compiled.
        ('"""', "\n'''", "A revision cannot be read: unterminated triple-quoted string literal"),
        ("down_revision = '", "down_revision = 'no_", "Revision no_"),
        ("revision = 'probe'", "revision = REVISION", "(probe.py, line 7)"),
        ("revision = 'probe'", "", "A revision cannot be read: Could not determine revision id"),
        ("down_revision = '", "down_revision = 'probe' #", "Self-loop is detected"),
        ("revision = 'probe'", f"revision = {FIRST!r}", f"Revision {FIRST} is present more than"),
    ],
)
def test_a_revision_that_cannot_be_read(
    alembic_cli: AlembicCli, revisions: Revisions, correct: str, wrong: str, message: str
) -> None:
    revisions.add("probe", "pass")
    path = Path(revisions.project.scripts.versions) / "probe.py"
    path.write_text(path.read_text().replace(correct, wrong, 1))
    arguments = ("-c", revisions.ini, "upgrade", "head")
    alembic_cli.run(*arguments, database="postgresql://h/d").refusal(message, "probe")


def test_debug_logging_is_enabled(
    alembic_cli: AlembicCli, debug_ini: str, empty_database: str
) -> None:
    alembic_cli.run("-c", debug_ini, "upgrade", "head", database=empty_database).succeeded(
        "DEBUG [psycopg] connection attempt",
        "INFO  [sqlalchemy.engine.Engine] INSERT INTO alembic_version",
        "DEBUG [alembic.runtime.migration] new branch insert",
    )
