"""Both drivers verify a server's certificate alike, against a file or the system's authorities.

The server is a PgBouncer with its own certificate, where it is installed.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import URL, make_url, text

from models.database import make_engine
from tests.support.alembic_cli import AlembicCli
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer
from trading_bot_schema.url import DatabaseURLError

pytestmark = [
    needs_pgbouncer,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


class Encrypted(NamedTuple):
    url: URL
    authority: Path
    """The certificate of the server's authority."""


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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"client_tls_key_file": key, "client_tls_cert_file": certificate}
    with pgbouncer(
        server,
        "session",
        listen_addr="127.0.0.1",
        listen_port=port,
        client_tls_sslmode="prefer",
        **settings,
    ) as url:
        yield Encrypted(make_url(url).set(host="localhost", port=port, query={}), certificate)
    shutil.rmtree(directory)


async def ask_asyncpg(url: URL) -> object:
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT 1"))
    finally:
        await engine.dispose()


def ask_psycopg(alembic_cli: AlembicCli, url: URL) -> str:
    target = url.render_as_string(hide_password=False)
    return alembic_cli.run("current", database=target).stderr


SYSTEM = {"sslrootcert": "system"}


async def test_the_systems_authorities(
    alembic_cli: AlembicCli, encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = encrypted.url.set(query=SYSTEM)
    # They do not trust the certificate.
    with pytest.raises(Exception, match="certificate verify failed"):
        await ask_asyncpg(url)
    assert "certificate verify failed" in ask_psycopg(alembic_cli, url)
    # Now they do; OpenSSL reads the variable.
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.authority))
    assert await ask_asyncpg(url) == 1
    assert "ERROR" not in ask_psycopg(alembic_cli, url)
    # The name is verified as well.
    other = url.set(host="127.0.0.1")
    with pytest.raises(Exception, match="IP address mismatch"):
        await ask_asyncpg(other)
    assert "does not match host name" in ask_psycopg(alembic_cli, other)


async def test_an_authority_in_a_file(alembic_cli: AlembicCli, encrypted: Encrypted) -> None:
    query = {"sslmode": "verify-full", "sslrootcert": str(encrypted.authority)}
    url = encrypted.url.set(query=query)
    assert await ask_asyncpg(url) == 1
    assert "ERROR" not in ask_psycopg(alembic_cli, url)


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert"])
async def test_a_file_that_does_not_exist(encrypted: Encrypted, name: str) -> None:
    query = {"sslmode": "verify-full", "sslrootcert": str(encrypted.authority)}
    url = encrypted.url.set(query=query | {name: "/nonexistent/file.crt"})
    message = f"{name} in the database URL: there is no file /nonexistent/file.crt."
    with pytest.raises(DatabaseURLError, match=message):
        await ask_asyncpg(url)


async def test_channel_binding(
    alembic_cli: AlembicCli, encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libpq binds the channel, which PgBouncer does not offer; asyncpg verifies the server."""
    url = encrypted.url.set(query={"sslmode": "require", "channel_binding": "require"})
    assert "without channel binding" in ask_psycopg(alembic_cli, url)
    with pytest.raises(Exception, match="certificate verify failed"):
        await ask_asyncpg(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.authority))
    assert await ask_asyncpg(url) == 1
    for value in ("prefer", "disable"):
        url = encrypted.url.set(query={"channel_binding": value})
        assert await ask_asyncpg(url) == 1
        assert "ERROR" not in ask_psycopg(alembic_cli, url)


WITHOUT_HOME = """
import asyncio, os, sys
from sqlalchemy import text
from models.database import make_engine

async def ask():
    engine = make_engine(sys.argv[1])
    async with engine.connect() as connection:
        print(await connection.scalar(text("SELECT 1")))
    await engine.dispose()

home, os.environ["HOME"] = os.environ["HOME"], "/"
asyncio.run(ask())  # loads all modules
os.environ["HOME"] = home
if os.geteuid() == 0:  # which may read everything
    os.setgroups([])
    os.setuid(65534)
asyncio.run(ask())
"""


@pytest.mark.parametrize("mode", ["", "disable", "prefer", "require"])
def test_a_home_directory_that_cannot_be_read(
    encrypted: Encrypted, tmp_path: Path, mode: str
) -> None:
    """As in a container that runs under another account than its image was built for."""
    home = tmp_path / "home"
    home.mkdir(mode=0)
    url = encrypted.url.set(query={"sslmode": mode} if mode else {})
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOME, url.render_as_string(hide_password=False)],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "1\n1\n"), result.stderr
