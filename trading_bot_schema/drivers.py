"""Connection parameters of both drivers for one URL: libpq (psycopg, psql, pg_dump) and asyncpg.

Neither reads a variable of libpq: :func:`trading_bot_schema.url.parse` has put what both support
into the URL, and the embedded server has its own.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy.engine import URL

from trading_bot_schema.url import POOLER, DatabaseURLError, rendered

APPLICATION_NAME = "trading-bot"

_environment = Lock()


def libpq_arguments(url: URL) -> dict[str, Any]:
    """Return libpq's parameters for a URL, as for ``psycopg.connect(**arguments)``."""
    options = {name: value for name, value in url.query.items() if name != POOLER}
    return url.translate_connect_args(username="user", database="dbname") | options


def asyncpg_arguments(url: URL) -> dict[str, Any]:
    """Return the arguments of :func:`asyncpg.connect` and of SQLAlchemy for a URL."""
    options = {name: str(value) for name, value in url.query.items()}
    arguments: dict[str, Any] = url.translate_connect_args(username="user")
    hosts = str(options.pop("host", url.host or "")).split(",")
    if hosts != [""]:
        arguments["host"] = hosts  # a list, as it would look for a port in an address such as ::1
    if port := options.pop("port", str(url.port or "")):
        arguments["port"] = [int(number) for number in port.split(",")]
    if options.pop(POOLER, None):
        # asyncpg then uses only the unnamed statement, and prepares it each time, since the next
        # one may run in another session. Source: asyncpg docs, "Frequently Asked Questions".
        arguments["statement_cache_size"] = 0
    if timeout := int(options.pop("connect_timeout", 0)):  # 0: the driver's default
        arguments["timeout"] = timeout
    if options.pop("channel_binding", None) == "require":
        # asyncpg cannot bind the channel to the password. A verified certificate proves as well
        # that no one is between this client and the server.
        options = {"sslrootcert": "system"} | options | {"sslmode": "verify-full"}
    if all(host.startswith("/") for host in hosts):
        options |= {"sslmode": "disable", "gsslib": "gssapi"}  # as libpq does with sockets
    elif options.get("sslrootcert") == "system":  # which asyncpg treats as a file name
        arguments["ssl"] = _trusting_the_system(options)
    # Defaults, lest asyncpg reads libpq's variables.
    options = {
        "application_name": APPLICATION_NAME,
        "sslmode": "prefer",
        "sslnegotiation": "postgres",
        "target_session_attrs": "any",
    } | options
    # asyncpg reads libpq's options from a URL only.
    arguments["dsn"] = rendered(URL.create("postgresql", query=options))
    return arguments


def _trusting_the_system(options: dict[str, str]) -> ssl.SSLContext:
    """Return a context for ``sslrootcert=system``, which verifies the host name, as in libpq."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if certificate := options.get("sslcert"):
        context.load_cert_chain(certificate, options.get("sslkey"))
    if revoked := options.get("sslcrl"):
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def missing_file(url: URL) -> DatabaseURLError | None:
    """Return an error that names the missing file of a URL: asyncpg's does not."""
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        path = str(url.query.get(name, ""))
        if path not in ("", "system") and not Path(path).exists():
            return DatabaseURLError(f"{name} in the database URL: there is no file {path}.")
    return None


def ignore_unreadable_home() -> None:
    """Let asyncpg look for no certificates in a home directory that it cannot read.

    libpq ignores such a directory, as in a container that runs under another account; asyncpg
    raises PermissionError, and takes the directory from the environment only.
    """
    try:
        with suppress(RuntimeError):  # There is no home.
            (Path.home() / ".postgresql" / "postgresql.key").exists()
    except PermissionError:
        os.environ["HOME"] = os.devnull


def environment() -> dict[str, str]:
    """Return the environment without libpq's variables, for a program that uses libpq."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


@contextmanager
def without_libpq_variables() -> Iterator[None]:
    """Hide libpq's variables while this process connects: it cannot be told to ignore them."""
    with _environment:
        hidden = {name: os.environ.pop(name) for name in os.environ.keys() - environment().keys()}
        try:
            yield
        finally:
            os.environ.update(hidden)
