"""How Alembic's commands look on a terminal."""

import logging
import os
from contextlib import nullcontext
from logging.config import fileConfig
from typing import TextIO

from alembic.config import Config

COLOURS = {logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
"""Green, yellow and red, as in "ECMA-48", Select Graphic Rendition."""


ERASE_LINE = "\r\x1b[K"
"""Carriage Return, and "ECMA-48", Erase in Line."""


class ColouredFormatter(logging.Formatter):
    """Shows the level in colour."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record, its level coloured."""
        text = super().formatMessage(record)
        colour = COLOURS.get(record.levelno)
        return text.replace(record.levelname, f"\x1b[{colour}m{record.levelname}\x1b[0m", 1)


class StatusLine(logging.Formatter):
    """The last line of a terminal, which changes; what is logged takes its place."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]", formatter: logging.Formatter):
        """Share a terminal with a handler, whose formatter this becomes."""
        super().__init__()
        self._handler = handler
        self._formatter = formatter
        self._shown = False
        handler.setFormatter(self)

    def __call__(self, text: str) -> None:
        """Replace the line, cut to the width of the terminal; an empty text removes it."""
        stream = self._handler.stream
        with self._handler.lock or nullcontext():
            columns = os.get_terminal_size(stream.fileno()).columns or 80
            stream.write(ERASE_LINE + text[: columns - 1])
            stream.flush()
            self._shown = bool(text)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; the handler, which calls this, holds its lock until it is written."""
        erase = ERASE_LINE if self._shown else ""
        self._shown = False
        return erase + self._formatter.format(record)


def set_up(config: Config) -> StatusLine | None:
    """Set up logging for the command line; return the terminal's status line, if it has one.

    What is written to a terminal is coloured, unless NO_COLOR is set (https://no-color.org); with
    ``-q``, there is no progress. An application that calls Alembic has its own logging.
    """
    if config.cmd_opts is None or config.config_file_name is None:
        return None
    fileConfig(config.config_file_name, disable_existing_loggers=False)
    if config.cmd_opts.quiet:
        logging.getLogger("alembic").setLevel(logging.WARNING)
    status_line = None
    for handler in logging.root.handlers:
        formatter = handler.formatter
        if (
            isinstance(handler, logging.StreamHandler)
            and formatter is not None
            and handler.stream.isatty()
        ):
            if not os.environ.get("NO_COLOR"):
                formatter = ColouredFormatter(formatter._fmt)
            status_line = StatusLine(handler, formatter)
    return None if config.cmd_opts.quiet or os.environ.get("TERM") == "dumb" else status_line
