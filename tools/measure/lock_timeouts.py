"""How long a migration that waits for its lock blocks a table's queries, by ``lock_timeout``.

``python -m tools.measure.lock_timeouts`` migrates while one session reads the table, and
measures how long the queries of another session take.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.support.probe_revisions import Revisions
from tools import ROOT
from trading_bot_schema import embedded
from verification import databases, load

ADD_COLUMN = 'op.add_column("trades", sa.Column("probe", sa.Integer()))'
SETTINGS = [("5s", 5), ("1s", 9), ("500ms", 12), ("200ms", 13)]
BLOCKED_SECONDS = 0.05
"""A query that takes longer was blocked."""


def idle(url: str, stop: threading.Event) -> None:
    """Read in a transaction that stays open."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM trades")
        stop.wait()


def reports(url: str, stop: threading.Event) -> None:
    """Read for three seconds, with half a second in between."""
    with psycopg.connect(url) as connection:
        while not stop.is_set():
            connection.execute("SELECT FROM trades")
            stop.wait(3)
            connection.commit()
            stop.wait(0.5)


def measure(
    url: str, reader: Callable[[str, threading.Event], None], timeout: str, attempts: int
) -> str:
    """Migrate while a session reads; return a row of the table."""
    stop = threading.Event()
    durations: list[float] = []

    def query() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(0.005):
                started = time.monotonic()
                connection.execute("SELECT count(*) FROM trades")
                durations.append(time.monotonic() - started)

    threads = [threading.Thread(target=reader, args=(url, stop)), threading.Thread(target=query)]
    for thread in threads:
        thread.start()
    with tempfile.TemporaryDirectory() as directory:
        revisions = Revisions(load(ROOT), Path(directory))
        revisions.add("probe", ADD_COLUMN)
        options = ["-x", f"lock_timeout={timeout}", "-x", f"lock_attempts={attempts}"]
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "alembic", "-c", revisions.ini, *options, "upgrade", "head"],
            cwd=ROOT,
            env={"DATABASE_URL": url},
            capture_output=True,
            check=False,
        )
        total = time.monotonic() - started
    stop.set()
    for thread in threads:
        thread.join()
    result = "failed" if done.returncode else "done"
    blocked = sum(seconds for seconds in durations if seconds > BLOCKED_SECONDS)
    return (
        f"| {reader.__name__} | {timeout}, {attempts} | {result} after {total:.0f} s"
        f" | {blocked:.1f} s | {max(durations):.1f} s |"
    )


def main() -> None:
    """Print the table."""
    home = Path(tempfile.mkdtemp())
    home.chmod(0o755)
    server = embedded.start(home / "server").render_as_string(hide_password=False)
    try:
        with databases.database(server, "migrated") as template:
            load(ROOT).migrate(template)
            print("| Reader | `lock_timeout`, `lock_attempts` | Result | Blocked | Longest |")  # noqa: T201
            print("|---|---|---|---|---|")  # noqa: T201
            for reader in (idle, reports):
                for timeout, attempts in SETTINGS:
                    with databases.database(server, "copy", "migrated") as url:
                        print(measure(url, reader, timeout, attempts), flush=True)  # noqa: T201
    finally:
        embedded.stop(home / "server")
        shutil.rmtree((home / "server").resolve())
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
