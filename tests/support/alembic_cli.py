"""The ``alembic`` command line in processes of its own, without two seconds of imports for each.

A server, ``python -m tests.support.alembic_cli``, imports Alembic once and forks itself for every
command; the child then is what the console script would be: own process, streams, environment
and exit status. A child can be told to stop (SIGSTOP) before a statement, to be killed there.
"""

import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
"""Longest that a command may take; a test that waits longer fails."""


@dataclass
class Result:
    status: int
    """Exit status; negative: the signal that ended the process."""
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def messages(self) -> list[str]:
        """What stderr says beside the notes on progress, without the time."""
        lines = (line.split(" ", 1)[-1] for line in self.stderr.splitlines())
        return [line for line in lines if not line.startswith("INFO ")]


@dataclass
class Command:
    """A command that runs."""

    pid: int
    _server: "Server"
    _output: Path

    def wait_until_stopped(self) -> bool:
        """Wait until it stops before a statement; say whether it did, rather than end."""
        return self._server.wait(self.pid) is None

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stderr(self) -> str:
        return self._output.with_suffix(".err").read_text()

    def result(self) -> Result:
        """Wait for the end."""
        status = self._server.wait(self.pid)
        assert status is not None, "stopped"
        return Result(status, self._output.with_suffix(".out").read_text(), self.stderr())


@dataclass
class Server:
    """Starts commands."""

    process: "subprocess.Popen[str]"
    directory: Path
    changes: dict[int, list[int | None]] = field(default_factory=dict)
    count: int = 0

    def start(
        self,
        *arguments: str,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_before: int | None = None,
        ignoring: Sequence[signal.Signals] = (),
    ) -> Command:
        """Start ``alembic`` with arguments, to stop before the nth statement that changes.

        It ignores signals as one that is started by ``nohup`` does.
        """
        self.count += 1
        output = self.directory / str(self.count)
        for suffix in (".out", ".err"):
            output.with_suffix(suffix).touch()
        given = {} if database is None else {"DATABASE_URL": database}
        request = {
            "arguments": arguments,
            "environment": {**os.environ, **given, **(environment or {})},
            "output": str(output),
            "stop_before": stop_before,
            "ignoring": ignoring,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while not (started := self.directory / f"{self.count}.pid").exists():
            self._read()
        return Command(int(started.read_text()), self, output)

    def run(self, *arguments: str, **options: Any) -> Result:
        return self.start(*arguments, **options).result()

    def wait(self, pid: int) -> int | None:
        """Wait until a process ends, and return its status, or stops: None."""
        while not self.changes.get(pid):
            self._read()
        return self.changes[pid].pop(0)

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], SECONDS)
        assert ready, "the command does not end"
        # Not with readline(), whose buffer select() does not know.
        lines = os.read(stream.fileno(), 65536).decode()
        assert lines, "the server is gone"
        for line in filter(None, lines.split("\n")):
            pid, status = json.loads(line)
            self.changes.setdefault(pid, []).append(status)


@contextmanager
def server() -> Iterator[Server]:
    """Start the server; end it and what it started."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.alembic_cli"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            yield Server(process, Path(directory))
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait(SECONDS)
            process.stdout.close()


def _serve() -> None:
    for name in ("alembic.config", "alembic.command", "models", "psycopg", "asyncpg"):
        importlib.import_module(name)
    importlib.import_module("sqlalchemy.dialects.postgresql.psycopg")
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([0], [], [], 0.01 if running else None)
        if ready:
            line = _read_line()
            if not line:
                break
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become_alembic(request)
                return
            running.add(pid)
            path = Path(request["output"]).with_suffix(".new")
            path.write_text(str(pid))
            path.rename(path.with_suffix(".pid"))
            print(flush=True)  # noqa: T201
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                break
            if not os.WIFSTOPPED(status):
                running.remove(pid)
            code = None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
            print(json.dumps([pid, code]), flush=True)  # noqa: T201
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(0, 65536)):
            return b""
        line += part
    return line


def _become_alembic(request: dict[str, Any]) -> None:
    from alembic.config import main

    streams = [os.open(os.devnull, os.O_RDONLY)]
    for suffix in (".out", ".err"):
        path = Path(request["output"]).with_suffix(suffix)
        streams.append(os.open(path, os.O_WRONLY | os.O_APPEND))
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        ignored = number in request["ignoring"]
        signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["stop_before"] is not None:
        stop = functools.partial(os.kill, os.getpid(), signal.SIGSTOP)
        before_change(request["stop_before"], stop)
    main(argv=request["arguments"], prog="alembic")


def before_change(number: int, action: Callable[[], object], target: Any = Engine) -> None:
    """Act before the nth statement or commit, counted from the first that changes something."""
    main, seen = threading.main_thread(), 0

    def count(*arguments: Any) -> None:
        nonlocal seen
        statement = arguments[2] if len(arguments) > 2 else "COMMIT"
        first_word = statement.split(maxsplit=1)[0].upper()
        if threading.current_thread() is not main or first_word in ("SELECT", "SHOW"):
            return
        if seen == 0 and first_word == "COMMIT":
            return
        seen += 1
        if seen == number:
            action()

    event.listen(target, "before_cursor_execute", count)
    event.listen(target, "commit", count)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


if __name__ == "__main__":
    _serve()
