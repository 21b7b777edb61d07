"""The URL to connect to; starts the embedded server if the URL names it."""

from pathlib import Path

from sqlalchemy.engine import URL

from trading_bot_schema.url import EMBEDDED, parse


def connectable(url: str) -> URL:
    """Validate a URL and return it without a driver; start the embedded server if it names it.

    Raises:
        trading_bot_schema.url.DatabaseURLError: It is malformed, not PostgreSQL's, or has an
            option that one of the drivers does not understand.
        trading_bot_schema.embedded.EmbeddedError: The embedded server cannot be started.
    """
    if url.startswith(EMBEDDED):
        from trading_bot_schema import embedded  # not needed with another server

        return embedded.start(Path(url.removeprefix(EMBEDDED)))
    return parse(url)
