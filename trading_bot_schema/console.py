"""Output of Alembic's commands on stderr: for a terminal, a log, or as JSON."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from logging.config import fileConfig
from pathlib import Path
from typing import TextIO

from alembic.config import Config

COLOURS = {logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
"""Green, yellow and red, as in "ECMA-48", Select Graphic Rendition."""

FIELDS = ("event", "revision", "direction", "attempt", "seconds", "target", "blockers")
"""Attributes that a record may have beside its message, as ``extra``."""

ERASE_LINE = "\r\x1b[K"
"""Carriage Return, and "ECMA-48", Erase in Line."""


class ColouredFormatter(logging.Formatter):
    """Shows the level in colour."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record, its level coloured."""
        text = super().formatMessage(record)
        colour = COLOURS.get(record.levelno)
        return text.replace(record.levelname, f"\x1b[{colour}m{record.levelname}\x1b[0m", 1)


class TimedFormatter(logging.Formatter):
    """Prefixes the time: UTC, as in RFC 3339."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class JsonFormatter(TimedFormatter):
    """Formats each record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, with the attributes in FIELDS that it has."""
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.levelno >= logging.ERROR:
            fields["event"] = "failed"
        return json.dumps(
            fields | {name: value for name, value in vars(record).items() if name in FIELDS}
        )


class StatusLine(logging.Formatter):
    """The status line at the bottom of a terminal, which log records replace."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]", formatter: logging.Formatter):
        """Share a terminal with a handler, and become its formatter."""
        super().__init__()
        self._handler = handler
        self._formatter = formatter
        self._shown = False
        handler.setFormatter(self)

    def __call__(self, text: str) -> None:
        """Replace the line, cut to the width of the terminal; an empty text removes it."""
        stream = self._handler.stream
        with self._handler.lock or nullcontext():
            if not text and not self._shown:
                return
            columns = os.get_terminal_size(stream.fileno()).columns or 80
            stream.write(ERASE_LINE + text[: columns - 1])
            stream.flush()
            self._shown = bool(text)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; the handler, which calls this, holds its lock until it is written."""
        erase = ERASE_LINE if self._shown else ""
        self._shown = False
        return erase + self._formatter.format(record)


def replace_closed_streams() -> None:
    """Discard what is written to stdout and stderr if they are closed, as with ``2>&-``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


@contextmanager
def output() -> Iterator[None]:
    """Exit with one line if stdout cannot be written, and with none if its reader has ended.

    Raises:
        SystemExit: With status 141, as a shell reports SIGPIPE, or 2.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Python flushes stdout again at exit (Python docs, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(141)
        print(f"ERROR {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def set_up(config: Config, *, as_json: bool = False) -> StatusLine | None:
    """Set up logging for the command line; return the terminal's status line, if it has one.

    Output to a terminal is coloured, unless NO_COLOR is set (https://no-color.org); other output
    has the time. With ``-q``, no progress is shown. An application that calls Alembic sets up its
    own logging.
    """
    if config.cmd_opts is None or config.config_file_name is None:
        return None
    replace_closed_streams()
    fileConfig(config.config_file_name, disable_existing_loggers=False)
    if config.cmd_opts.quiet:
        logging.getLogger("alembic").setLevel(logging.WARNING)
    status_line = None
    for handler in logging.root.handlers:
        formatter = handler.formatter
        if not isinstance(handler, logging.StreamHandler) or formatter is None:
            continue
        if as_json:
            handler.setFormatter(JsonFormatter())
        elif not handler.stream.isatty():
            handler.setFormatter(TimedFormatter(f"%(asctime)s {formatter._fmt}"))
        else:
            if not os.environ.get("NO_COLOR"):
                formatter = ColouredFormatter(formatter._fmt)
            status_line = StatusLine(handler, formatter)
    return None if config.cmd_opts.quiet or os.environ.get("TERM") == "dumb" else status_line
