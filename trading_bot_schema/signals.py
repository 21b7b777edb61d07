"""Ends a command on a signal: with one line and the exit status that a shell would report."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from alembic import util
from alembic.config import Config

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command; Windows has no SIGHUP."""


class Interrupted(KeyboardInterrupt):
    """A signal arrived. psycopg cancels the statement, as it does for Ctrl-C."""

    def __init__(self, number: int) -> None:
        """Store the number of the signal."""
        super().__init__()
        self.signal = signal.Signals(number)


@contextmanager
def raised() -> Iterator[None]:
    """Raise :class:`Interrupted` in the main thread on signals that end a process.

    The first process of a container has no default action for signals, so it needs handlers to end
    at all. Signals that were ignored at the start, as under ``nohup``, stay ignored. Further
    signals are ignored while the command ends, which takes at most a few seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        number: handler
        for number in [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def interrupt(number: int, frame: FrameType | None) -> None:
        for number_ in handlers:
            signal.signal(number_, signal.SIG_IGN)
        raise Interrupted(number)

    try:
        for number in handlers:
            signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def end_cleanly(config: Config) -> Iterator[None]:
    """Exit Alembic's command line, not an application, with one line when a signal arrives.

    Raises:
        SystemExit: A signal arrived; 128 and its number.
    """
    if config.cmd_opts is None:
        yield
        return
    try:
        with raised():
            yield
    except Interrupted as error:
        notes = getattr(error, "__notes__", [])
        message = " ".join([f"Interrupted by {error.signal.name}.", *notes, "Run it again."])
        try:
            util.err(message, **config.messaging_opts)
        except SystemExit:
            sys.exit(128 + error.signal)
