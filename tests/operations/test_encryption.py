"""Both drivers verify a server's certificate alike, against a file or the system's authorities.

The server is a PgBouncer with its own certificate, where it is installed.
"""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import URL, make_url

from tests.support import commandline
from tests.support.drivers import ask_asyncpg, ask_psycopg
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer

pytestmark = [
    needs_pgbouncer,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


class Encrypted(NamedTuple):
    url: URL
    # The certificate of the server's authority.
    authority: Path


@pytest.fixture(scope="module")
def encrypted(server: str) -> Iterator[Encrypted]:
    """A server on TCP with a certificate for the name "localhost"."""
    directory = Path(tempfile.mkdtemp(prefix="encryption-", dir="/tmp"))
    directory.chmod(0o755)
    certificate, key = directory / "server.crt", directory / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)  # for the account that PgBouncer runs as
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pgbouncer(
        server,
        "session",
        listen_addr="127.0.0.1",
        listen_port=port,
        client_tls_sslmode="prefer",
        client_tls_key_file=key,
        client_tls_cert_file=certificate,
    ) as url:
        yield Encrypted(make_url(url).set(host="localhost", port=port, query={}), certificate)
    shutil.rmtree(directory)


SYSTEM = {"sslrootcert": "system"}
FILE = {"sslmode": "verify-full", "sslrootcert": "AUTHORITY"}
BOUND = {"sslmode": "require", "channel_binding": "require"}
MISSING = "/nonexistent/file.crt"
UNTRUSTED = "certificate verify failed"
NOT_BOUND = "without channel binding"


@pytest.mark.parametrize(
    ("query", "host", "trusted", "asyncpg", "psycopg"),
    [
        (SYSTEM, "localhost", False, UNTRUSTED, UNTRUSTED),
        (SYSTEM, "localhost", True, "", ""),
        (SYSTEM, "127.0.0.1", True, "IP address mismatch", "does not match host name"),
        (FILE, "localhost", False, "", ""),
        (
            *(FILE | {"sslrootcert": MISSING}, "localhost", False),
            *(f"sslrootcert in the database URL: there is no file {MISSING}.", MISSING),
        ),
        (
            *(FILE | {"sslcert": MISSING}, "localhost", False),
            *(f"sslcert in the database URL: there is no file {MISSING}.", ""),
        ),
        # libpq binds the channel, which PgBouncer does not offer; asyncpg verifies the server.
        (BOUND, "localhost", False, UNTRUSTED, NOT_BOUND),
        (BOUND, "localhost", True, "", NOT_BOUND),
        ({"channel_binding": "prefer"}, "localhost", False, "", ""),
        ({"channel_binding": "disable"}, "localhost", False, "", ""),
    ],
)
def test_both_drivers(
    encrypted: Encrypted,
    monkeypatch: pytest.MonkeyPatch,
    query: dict[str, str],
    host: str,
    trusted: bool,
    asyncpg: str,
    psycopg: str,
) -> None:
    """The error of each driver with a URL and the system's authorities; empty: none."""
    if trusted:  # OpenSSL reads the variable.
        monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.authority))
    options = {
        name: value.replace("AUTHORITY", str(encrypted.authority)) for name, value in query.items()
    }
    url = encrypted.url.set(host=host, query=options).render_as_string(hide_password=False)
    for ask, error in ((ask_asyncpg, asyncpg), (ask_psycopg, psycopg)):
        with pytest.raises(Exception, match=error) if error else nullcontext():
            assert ask(url) == 1


WITHOUT_HOME = """
import asyncio, os, sys
from sqlalchemy import text
from models.database import make_engine

async def ask(url):
    engine = make_engine(url)
    async with engine.connect() as connection:
        print(await connection.scalar(text("SELECT 1")))
    await engine.dispose()

home, *urls = sys.argv[1:]
os.environ["HOME"] = "/"
asyncio.run(ask(urls[0]))  # loads all modules
if os.geteuid() == 0:  # which may read everything
    os.setgroups([])
    os.setuid(65534)
for url in urls:
    os.environ["HOME"] = home
    asyncio.run(ask(url))
"""


def test_a_home_directory_that_cannot_be_read(encrypted: Encrypted, tmp_path: Path) -> None:
    """As in a container that runs under another account than its image was built for."""
    (tmp_path / "home").mkdir(mode=0)
    (tmp_path / "application.py").write_text(WITHOUT_HOME)
    urls = (
        encrypted.url.set(query=query).render_as_string(hide_password=False)
        for query in ({}, *({"sslmode": mode} for mode in ("disable", "prefer", "require")))
    )
    result = commandline.run(
        "application", str(tmp_path / "home"), *urls, PYTHONPATH=str(tmp_path)
    )
    assert result.succeeded().stdout == "1\n" * 5
