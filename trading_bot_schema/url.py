"""The URL of the database: one rule for the application and for Alembic.

``DATABASE_URL`` comes first, then ``sqlalchemy.url`` of ``alembic.ini`` (for Alembic), then, in a
checkout, an embedded server with its data in ``.postgres``. If the package was installed from
a wheel, such as in an image, there is no default: a deployment that lacks ``DATABASE_URL`` must
not succeed on another database. The same URL serves both drivers: asyncpg for the
application, psycopg for Alembic.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

ENVIRONMENT_VARIABLE = "DATABASE_URL"
EMBEDDED = "embedded:///"
PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_alembic"
"""The migrations, if the package was installed from a wheel; a checkout has none here."""
DEFAULT_URL = None if INSTALLED.exists() else f"{EMBEDDED}{PACKAGE.parent}/.postgres"

EXAMPLE = "postgresql://user:password@host:5432/database"
MALFORMED = (
    f"The database URL is malformed. It should look like {EXAMPLE}; in user and password, write"
    " @ as %40, : as %3A, / as %2F and % as %25."
)
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg")
OPTIONS = frozenset(
    {
        "application_name",
        "connect_timeout",
        "host",
        "options",
        "passfile",
        "port",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "target_session_attrs",
    }
)
"""The libpq options that both psycopg and asyncpg support.

Sources: PostgreSQL docs, "Parameter Key Words"; asyncpg docs, ``connect()``.
"""

POOLER = "pooler"
"""The one option that is not libpq's: ``pooler=transaction``, for the application.

It declares that the URL leads to a pooler that assigns a server connection per transaction, such
as PgBouncer with ``pool_mode = transaction``.
"""


class DatabaseURLError(ValueError):
    """The database URL is not usable. The message states why and never includes the URL."""


def database_url(
    configured: str | None = None, environment: Mapping[str, str] = os.environ
) -> str:
    """Return the URL of the database: ``DATABASE_URL``, else ``configured``, else the default.

    Raises:
        DatabaseURLError: ``DATABASE_URL`` is set, but empty, or there is no default. Falling back
            to another database would hide a broken deployment.
    """
    url = environment.get(ENVIRONMENT_VARIABLE)
    if url is None:
        if default := configured or DEFAULT_URL:
            return default
        raise DatabaseURLError(
            f"{ENVIRONMENT_VARIABLE} is not set. Set it to {EXAMPLE}; or, for a private server"
            f" with its data in a directory, to {EMBEDDED}path."
        )
    if not url.strip():
        raise DatabaseURLError(
            f"{ENVIRONMENT_VARIABLE} is set but empty. Set it to {EXAMPLE}, or unset it."
        )
    return url.strip()  # a secret that is mounted as a file often ends with a newline


def parse(url: str) -> URL:
    """Validate the URL of a server, and return it without a driver.

    Raises:
        DatabaseURLError: It is malformed, not PostgreSQL's, or has an option that one of the
            drivers does not understand.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: the original error may quote a part of the password.
        raise DatabaseURLError(MALFORMED) from None
    # An unescaped @ cuts the password short; the rest would be shown as host, database or option.
    if url.count("@") > 1:
        raise DatabaseURLError(MALFORMED)
    if parsed.drivername not in SCHEMES:
        raise DatabaseURLError(
            f"The database URL starts with {parsed.drivername}://, which is not supported."
            f" Start it with one of: {', '.join(f'{scheme}://' for scheme in SCHEMES)}."
        )
    unknown = sorted(set(parsed.query) - OPTIONS - {POOLER})
    if unknown:
        raise DatabaseURLError(
            f"The database URL has options that asyncpg and psycopg do not share:"
            f" {', '.join(unknown)}. Remove them; supported are"
            f" {', '.join(sorted(OPTIONS | {POOLER}))}."
        )
    repeated = sorted(name for name, value in parsed.query.items() if not isinstance(value, str))
    if repeated:
        raise DatabaseURLError(
            f"The database URL gives an option more than once: {', '.join(repeated)}."
        )
    # The drivers disagree on which of the two is used, and on how several hosts are written.
    if "," in (parsed.host or "") or any(
        getattr(parsed, part) and part in parsed.query for part in ("host", "port")
    ):
        raise DatabaseURLError(
            "The database URL should name host and port once, before the question mark or as"
            " options; several hosts as ?host=first,second&port=5432,5432."
        )
    timeout = parsed.query.get("connect_timeout")
    if timeout is not None and not re.fullmatch("[0-9]+", str(timeout)):
        raise DatabaseURLError("connect_timeout in the database URL is not a number of seconds.")
    if parsed.query.get(POOLER, "transaction") != "transaction":
        raise DatabaseURLError(
            "pooler in the database URL can only be transaction; leave it out for session mode."
        )
    return parsed.set(drivername="postgresql")


def without_pooler(url: URL) -> URL:
    """Return a URL for a driver, which does not know the option ``pooler``."""
    return url.difference_update_query([POOLER])


def masked(url: URL) -> str:
    """Return a URL with the password masked, for logs."""
    return url.render_as_string(hide_password=True)
