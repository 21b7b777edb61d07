"""The commands of the pages on backups and logical replication work as described."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operations.landed import HEAD, PROJECT
from tests.support.waiting import wait_for
from tests.trading_bot import ROOT
from trading_bot_schema import embedded
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases

USER = "INSERT INTO users (email, hashed_password) VALUES (%s, 'hash') RETURNING id"
EMAILS = "SELECT string_agg(email, ' ' ORDER BY id) FROM users"


def blocks(page: str, language: str = "sh") -> list[str]:
    text = (ROOT / "docs" / "deploy" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def programs(url: str) -> Path:
    """Return the directory of psql and the other programs, for the version of a server."""
    major = databases.release(url)
    for directory in (embedded.programs(), Path(f"/usr/lib/postgresql/{major}/bin")):
        if (program := directory / "pg_restore").exists():
            shown = subprocess.run([program, "--version"], capture_output=True, check=True).stdout
            if f" {major}.".encode() in shown:
                return directory
    pytest.skip(f"the programs of PostgreSQL {major} are not installed")


def run(script: str, directory: Path, programs: Path, **variables: str) -> None:
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        ["sh", "-eu", "-c", script],  # noqa: S607
        cwd=directory,
        env=os.environ | {"PATH": path} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def add_user(url: str, email: str) -> int:
    return int(databases.scalar(url, USER, email))


def test_backup_and_restore(
    database: str, make_database: Callable[..., str], tmp_path: Path
) -> None:
    PROJECT.migrate(database, "-1")  # an older backup
    assert [add_user(database, email) for email in ("a", "b")] == [1, 2]
    urls = {"NEW_URL": make_database(), "ROWS_URL": make_database()}
    for script in blocks("backup.md"):
        run(script, tmp_path, programs(database), DATABASE_URL=database, **urls)
    PROJECT.migrate(database)
    for url in urls.values():
        assert (databases.scalar(url, EMAILS), databases.version(url)) == ("a b", HEAD)
        # PostgreSQL prints the expressions of a restored CHECK in another form.
        assert snapshot(url).objects.keys() == snapshot(database).objects.keys()
        assert add_user(url, "c") == 3


def test_logical_replication(password_server: str, tmp_path: Path) -> None:
    with (
        embedded.temporary({"fsync": "off", "wal_level": "logical"}) as server,
        databases.database(password_server, "new") as new,
    ):
        old = server.render_as_string()
        PROJECT.migrate(old, "7c1d0e5a9b42")
        assert add_user(old, "before") == 1
        set_up, switch_over = blocks("replication.md")
        copied, caught_up = blocks("replication.md", "sql")
        run(set_up, tmp_path, programs(new), OLD_URL=old, NEW_URL=new)
        wait_for(lambda: databases.scalar(new, copied) is None)
        PROJECT.migrate(new)  # the subscriber first
        PROJECT.migrate(old)
        assert add_user(old, "after") == 2
        wait_for(lambda: databases.scalar(old, caught_up))
        run(switch_over, tmp_path, programs(new), OLD_URL=old, NEW_URL=new)
        assert databases.scalar(new, EMAILS) == "before after"
        assert add_user(new, "new") == 3
