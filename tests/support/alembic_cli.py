"""Runs the ``alembic`` command line in separate processes that share its imports.

``multiprocessing`` forks them from a server that has imported Alembic, which takes two seconds,
once. Each process has its own streams, environment and exit status. Tests of errors before
Alembic's first line (a missing driver) start an interpreter instead:
:mod:`tests.support.commandline`.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from alembic.config import main

from tests.support.fault_injection import before_change
from tests.support.waiting import SECONDS, wait_for
from tests.trading_bot import ROOT

# The end of a warning that a revision declares to break old code.
DECLARED = "That code must not run any more."
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(
    [__name__, "models", "asyncpg", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"]
)


@dataclass
class Result:
    # Exit status; negative: the signal that ended the process.
    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def messages(self) -> list[str]:
        """The lines on stderr except progress, without the time."""
        lines = (line.split(" ", 1)[-1] for line in self.stderr.splitlines())
        return [line for line in lines if not line.startswith("INFO ")]

    def succeeded(self, *parts: str) -> Self:
        """Return the result of a command that must succeed, with all parts in its output."""
        return self.ended(0, *parts)

    def ended(self, status: int, *parts: str) -> Self:
        """Return the result of a command that must end so, with all parts in its output."""
        assert self.status == status, self.output
        missing = [part for part in parts if part not in self.output]
        assert missing == [], (missing, self.output)
        return self

    def refusal(self, *parts: str) -> str:
        """Return the only message of a command that must fail, which must have all parts.

        But for the warnings of what revisions declare.
        """
        assert self.status > 0, self.output
        (message,) = [text for text in self.messages if not text.endswith(DECLARED)]
        missing = [part for part in parts if part not in message]
        assert missing == [], (missing, message)
        return message


@dataclass
class Command:
    """A running command."""

    _process: BaseProcess
    _streams: list[Path]
    _control: Connection

    def wait_until_stopped(self) -> None:
        """Wait until it stops before a statement; it is an error if it ends instead."""
        assert self._control.poll(SECONDS), "the command neither stops nor ends"
        self._control.recv()

    def resume(self) -> None:
        self._control.send(None)

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def stderr(self) -> str:
        return self._streams[1].read_text()

    def until(self, message: str) -> Self:
        """Wait until it has printed a message on stderr."""
        wait_for(lambda: message in self.stderr())
        return self

    def result(self) -> Result:
        """Wait for the end, and return the result."""
        self._process.join(SECONDS)
        assert self._process.exitcode is not None, "the command does not end"
        return Result(self._process.exitcode, self._streams[0].read_text(), self.stderr())


# The fixture ``alembic``: starts a command, with settings.
Alembic = Callable[..., Command]


class AlembicCli:
    """Starts commands, whose output is written to a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)

    def start(
        self,
        *arguments: str,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
        stop_before: int | None = None,
        ignoring: Collection[signal.Signals] = (),
        terminal: Path | None = None,
    ) -> Command:
        """Start ``alembic`` with arguments, to stop before the nth change.

        It ignores the signals in ``ignoring``, as under ``nohup``; ``terminal`` is its stderr.
        """
        target = {} if database is None else {"DATABASE_URL": database}
        variables = {**os.environ, **target, **(environment or {})}
        number = next(self._numbers)
        streams = [self._directory / f"{number}.{name}" for name in ("out", "err")]
        for stream in streams:
            stream.touch()
        control, other_end = _processes.Pipe()
        with other_end:
            targets = [streams[0], terminal or streams[1]]
            process_arguments = (arguments, variables, targets, other_end, stop_before, ignoring)
            process = _processes.Process(target=_run, args=process_arguments, daemon=True)
            process.start()
        return Command(process, streams, control)

    def run(
        self,
        *arguments: str,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        return self.start(*arguments, database=database, environment=environment).result()


def _run(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    streams: list[Path],
    control: Connection,
    stop_before: int | None,
    ignoring: Collection[signal.Signals],
) -> None:
    """Run the console script in a new process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in ignoring else signal.SIG_DFL)
    for target, stream in enumerate(streams, 1):
        with stream.open("ab") as file:
            os.dup2(file.fileno(), target)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)

    def stop() -> None:
        """Report it through the pipe, and wait for an answer."""
        control.send(None)
        control.recv()

    if stop_before is not None:
        before_change(stop_before, stop)
    main(argv=arguments, prog="alembic")
