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
from urllib.parse import quote, unquote, urlencode

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
        "channel_binding",
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
"""The libpq options that work with both psycopg and asyncpg (see :mod:`.drivers`).

Sources: PostgreSQL docs, "Parameter Key Words"; asyncpg docs, ``connect()``.
"""
HARMLESS = frozenset({"client_encoding", "servicefile"})
"""Those whose variables may be set: both drivers use UTF-8, and a file alone has no effect."""

HOSTS = (
    "The database URL should name host and port once, before the question mark or as options;"
    " a port is a number; several hosts as first:5432,second:5432, or as"
    " ?host=first,second&port=5432,5432."
)
DEFAULT_PORT = "5432"

# SQLAlchemy does not parse several hosts, and loses the database after some of them.
_PARTS = re.compile(
    r"(?P<before>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)(?P<after>.*)", re.DOTALL
)
_ADDRESS = re.compile(
    r"(?:\[(?P<bracketed>[^]]+)\]|(?P<host>/.+|[^:/\[]+|[^/\[]*:[^/\[]*:[^/\[]*?))(?::(?P<port>[0-9]+))?"
)

POOLER = "pooler"
"""The one option that is not libpq's: ``pooler=transaction``, for the application.

It declares that the URL leads to a pooler that assigns a server connection per transaction, such
as PgBouncer with ``pool_mode = transaction``.
"""


SCHEMA = "public"
CURRENT_SCHEMA = "SELECT current_schema(), current_setting('search_path')"


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


def parse(url: str, environment: Mapping[str, str] = os.environ) -> URL:
    """Validate the URL of a server, and return it without a driver, its hosts in one form.

    What it leaves out is taken from libpq's variables, such as ``PGHOST``, for both drivers.

    Raises:
        DatabaseURLError: It is malformed, not PostgreSQL's, or has an option that one of the
            drivers does not understand, or there is a variable for such an option.
    """
    parts = _PARTS.fullmatch(url)
    # An unescaped @ cuts the password short; the rest would be shown as host, database or option.
    if parts is None or url.count("@") > 1:
        raise DatabaseURLError(MALFORMED)
    try:
        parsed = make_url(parts["before"] + parts["after"])
        hosts = [(unquote(host), port) for host, port in _addresses(parts["hosts"])]
    except (ArgumentError, ValueError):
        # Not chained: the original error may quote a part of the password.
        raise DatabaseURLError(MALFORMED) from None
    if parsed.drivername not in SCHEMES:
        raise DatabaseURLError(
            f"The database URL starts with {parsed.drivername}://, which is not supported."
            f" Start it with one of: {', '.join(f'{scheme}://' for scheme in SCHEMES)}."
        )
    if unknown := sorted(set(parsed.query) - OPTIONS - {POOLER}):
        raise DatabaseURLError(
            f"The database URL has options that asyncpg and psycopg do not treat alike:"
            f" {', '.join(unknown)}. Remove them; supported are"
            f" {', '.join(sorted(OPTIONS | {POOLER}))}."
        )
    query = {name: value for name, value in parsed.query.items() if isinstance(value, str)}
    if repeated := sorted(parsed.query.keys() - query.keys()):
        raise DatabaseURLError(
            f"The database URL gives an option more than once: {', '.join(repeated)}."
        )
    variables = _variables(environment)
    try:
        located = _located(hosts, query, variables)
    except ValueError:
        raise DatabaseURLError(HOSTS) from None
    query = {name: variables[name] for name in OPTIONS & variables.keys()} | query | located
    if not re.fullmatch("[0-9]+", query.get("connect_timeout", "0")):
        raise DatabaseURLError("connect_timeout in the database URL is not a number of seconds.")
    if query.get(POOLER, "transaction") != "transaction":
        raise DatabaseURLError(
            "pooler in the database URL can only be transaction; leave it out for session mode."
        )
    one = "," not in query.get("host", ",") and not query["host"].startswith("/")
    host, port = (query.pop("host"), query.pop("port", None)) if one else (None, None)
    return URL.create(
        "postgresql",
        username=parsed.username or variables.get("user"),
        password=parsed.password or variables.get("password"),
        host=host,
        port=int(port) if port else None,
        database=parsed.database or variables.get("dbname"),
        query=query,
    )


def _addresses(hosts: str) -> list[tuple[str, str]]:
    """Split ``first:5432,[::1]:5432,/directory`` into hosts and ports, which may be empty."""
    addresses = []
    for text in hosts.split(",") if hosts else []:
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError
        addresses.append((match["host"] or match["bracketed"], match["port"] or ""))
    return addresses


def _located(
    hosts: list[tuple[str, str]], query: dict[str, str], variables: Mapping[str, str]
) -> dict[str, str]:
    """Return the hosts and ports of a URL as libpq's options, with as many ports as hosts."""
    twice = hosts and "host" in query
    hosts = hosts or _addresses(query.get("host") or variables.get("host", ""))
    ports = [port for _, port in hosts if port]
    # The drivers disagree on which of the two is used.
    if twice or (ports and "port" in query):
        raise ValueError
    if not ports and (given := query.get("port") or variables.get("port")):
        ports = given.split(",")
        if len(ports) == 1:
            ports *= len(hosts) or 1
    elif ports:
        ports = [port or DEFAULT_PORT for _, port in hosts]
    if len(ports) not in (0, len(hosts) or 1) or not all(map(_is_port, ports)):
        raise ValueError
    located = {"host": ",".join(host for host, _ in hosts), "port": ",".join(ports)}
    return {name: value for name, value in located.items() if value}


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return libpq's parameters that its variables set, by name.

    Raises:
        DatabaseURLError: asyncpg has no such parameter, or reads it otherwise.
    """
    if not any(name.startswith("PG") for name in environment):
        return {}
    from psycopg import pq  # not needed otherwise

    variables, unknown = {}, []
    for option in pq.Conninfo.parse(b""):
        variable, name = (option.envvar or b"").decode(), option.keyword.decode()
        if not environment.get(variable) or name in HARMLESS:
            continue
        if name not in OPTIONS | {"user", "password", "dbname"}:
            unknown.append(variable)
        variables[name] = environment[variable]
    if unknown:
        raise DatabaseURLError(
            f"{', '.join(sorted(unknown))} would not apply alike to migrations (psycopg) and to"
            " the application (asyncpg). Unset it, and write what both need in the database URL."
        )
    return variables


def wrong_schema(schema: str | None, search_path: str) -> str:
    """Return why a connection would use other tables than the rest; empty: it would not.

    The arguments are the result of :data:`CURRENT_SCHEMA`.
    """
    if schema == SCHEMA:
        return ""
    return (
        f"search_path is {search_path!r} here, so that tables would be"
        f" {f'in the schema {schema}' if schema else 'in no schema'}, but the migrations and the"
        f" application use {SCHEMA}. Set it: ALTER ROLE ... IN DATABASE ... SET search_path ="
        f" {SCHEMA}, or ?options=-csearch_path%3D{SCHEMA} in the database URL."
    )


def rendered(url: URL, *, hide_password: bool = False) -> str:
    """Return a URL as text for every reader: SQLAlchemy writes spaces as + or as themselves."""
    text = url.set(query={}).render_as_string(hide_password).replace(" ", "%20")
    return f"{text}?{urlencode(url.query, quote_via=quote, safe='')}" if url.query else text


def masked(url: URL) -> str:
    """Return a URL with the password masked, for logs."""
    return rendered(url, hide_password=True)
