"""libpq's variables apply to migrations and to the application alike, or are refused by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import pq
from sqlalchemy import make_url, text

from models.database import make_engine
from tests.operations.landed import HEAD
from tests.support.alembic_cli import AlembicCli
from trading_bot_schema import embedded
from trading_bot_schema.url import HARMLESS, OPTIONS, DatabaseURLError, parse
from verification import databases

VARIABLES = {
    option.keyword.decode(): option.envvar.decode()
    for option in pq.Conninfo.parse(b"")
    if option.envvar
}
SHARED = OPTIONS | {"user", "password", "dbname"}
WRONG = {
    "channel_binding": "require",
    "connect_timeout": "1",
    "host": "nowhere.invalid",
    "hostaddr": "192.0.2.1",
    "options": "-c search_path=nowhere",
    "port": "1",
    "require_auth": "scram-sha-256",
    "service": "nowhere",
    "sslmode": "verify-full",
    "target_session_attrs": "standby",
}
"""Values with which no connection to a server on a socket, without passwords, succeeds."""


async def test_the_embedded_server_ignores_all(
    alembic_cli: AlembicCli, embedded_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"embedded:///{embedded_home}"
    for name, variable in VARIABLES.items():
        monkeypatch.setenv(variable, WRONG.get(name, "nonsense"))
    result = alembic_cli.run("current", database=url).succeeded()
    target = f"Database: postgresql://postgres@/postgres?host={embedded_home}"
    assert target in result.stderr.replace("%2F", "/")
    engine = make_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW search_path")) == '"$user", public'
    await engine.dispose()


@pytest.fixture(scope="module")
def embedded_home() -> Iterator[Path]:
    """The directory of a running server."""
    with embedded.temporary({"fsync": "off"}) as url:
        yield Path(str(url.query["host"]))


@pytest.mark.parametrize("name", VARIABLES)
def test_those_that_one_driver_ignores_are_refused(name: str) -> None:
    environment = {VARIABLES[name]: "5432"}
    if name in SHARED | HARMLESS:
        parse("postgresql:///trading", environment)
        return
    for url in ("postgresql:///trading", "postgresql://ada@db:5433/trading"):
        with pytest.raises(DatabaseURLError, match=f"^{VARIABLES[name]} "):
            parse(url, environment)


async def test_both_drivers_use_them_alike(
    alembic_cli: AlembicCli, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what the URL leaves out."""
    target = make_url(empty_database)
    environment = {
        "PGHOST": str(target.host or target.query["host"]),
        "PGPORT": str(target.port or target.query["port"]),
        "PGUSER": str(target.username),
        "PGDATABASE": "another",
        "PGOPTIONS": "-c statement_timeout=59s",
        "PGTZ": "Asia/Tokyo",  # which is libpq's alone
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"postgresql:///{target.database}"
    result = alembic_cli.run("upgrade", "head", database=url).succeeded()
    # The log names the server.
    assert environment["PGHOST"] in result.stderr.replace("%2F", "/")
    assert databases.version(empty_database) == HEAD
    assert parse("postgresql:///", environment).database == "another"
    engine = make_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "59s"
        assert await connection.scalar(text("SHOW timezone")) != "Asia/Tokyo"
    await engine.dispose()
