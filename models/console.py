"""How Alembic's commands look on a terminal."""

import logging
import os

COLOURS = {logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}
"""Green, yellow and red, as in "ECMA-48", Select Graphic Rendition."""


class ColouredFormatter(logging.Formatter):
    """Shows the level in colour."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record, its level coloured."""
        text = super().formatMessage(record)
        colour = COLOURS.get(record.levelno)
        return text.replace(record.levelname, f"\x1b[{colour}m{record.levelname}\x1b[0m", 1)


def set_up(quiet: bool) -> None:
    """Colour what goes to a terminal, unless NO_COLOR is set; when quiet, hide the progress.

    Source: https://no-color.org
    """
    if quiet:
        logging.getLogger("alembic").setLevel(logging.WARNING)
    for handler in logging.root.handlers:
        if (
            isinstance(handler, logging.StreamHandler)
            and handler.formatter is not None
            and handler.stream.isatty()
            and not os.environ.get("NO_COLOR")
        ):
            handler.setFormatter(ColouredFormatter(handler.formatter._fmt))
