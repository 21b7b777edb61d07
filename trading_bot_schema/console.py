"""How Alembic's commands look on a terminal."""

import logging
import os
from logging.config import fileConfig

from alembic.config import Config

COLOURS = {logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
"""Green, yellow and red, as in "ECMA-48", Select Graphic Rendition."""


class ColouredFormatter(logging.Formatter):
    """Shows the level in colour."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record, its level coloured."""
        text = super().formatMessage(record)
        colour = COLOURS.get(record.levelno)
        return text.replace(record.levelname, f"\x1b[{colour}m{record.levelname}\x1b[0m", 1)


def set_up(config: Config) -> None:
    """Set up logging for the command line.

    What is written to a terminal is coloured, unless NO_COLOR is set (https://no-color.org); with
    ``-q``, there is no progress. An application that calls Alembic has its own logging.
    """
    if config.cmd_opts is None or config.config_file_name is None:
        return
    fileConfig(config.config_file_name, disable_existing_loggers=False)
    if config.cmd_opts.quiet:
        logging.getLogger("alembic").setLevel(logging.WARNING)
    for handler in logging.root.handlers:
        if (
            isinstance(handler, logging.StreamHandler)
            and handler.formatter is not None
            and handler.stream.isatty()
            and not os.environ.get("NO_COLOR")
        ):
            handler.setFormatter(ColouredFormatter(handler.formatter._fmt))
