"""One URL, with libpq's variables, works with both drivers alike, or is refused with a reason."""

import re
from typing import Any

import pytest
from psycopg import pq
from sqlalchemy import make_url

from tests.support.alembic_cli import AlembicCli
from tests.support.drivers import ask_asyncpg, ask_psycopg
from tests.trading_bot import HEAD, ROOT
from trading_bot_schema import url as urls
from trading_bot_schema.drivers import asyncpg_arguments, libpq_arguments
from trading_bot_schema.url import DatabaseURLError, database_url, masked, parse, rendered
from verification import databases

SECRET = "s3cr:t@/%x"  # noqa: S105
ENCODED = "s3cr%3At%40%2F%25x"
VARIABLES = {
    option.keyword.decode(): option.envvar.decode()
    for option in pq.Conninfo.parse(b"")
    if option.envvar
}


@pytest.mark.parametrize(
    ("configured", "environment", "url"),
    [
        ("configured", {"DATABASE_URL": "environment"}, "environment"),
        ("configured", {}, "configured"),
        (None, {}, f"embedded:///{ROOT / '.postgres'}"),
        (None, {"DATABASE_URL": " postgresql://db/bot\n"}, "postgresql://db/bot"),  # stripped
    ],
)
def test_environment_comes_before_configuration_and_default(
    configured: str | None, environment: dict[str, str], url: str
) -> None:
    assert database_url(configured, environment) == url


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable(value: str) -> None:
    with pytest.raises(DatabaseURLError, match="DATABASE_URL is set but empty"):
        database_url("configured", {"DATABASE_URL": value})


@pytest.mark.parametrize("scheme", urls.SCHEMES)
def test_schemes(scheme: str) -> None:
    parsed = parse(f"{scheme}://ada:{ENCODED}@db:5433/bot?sslmode=require")
    address = (parsed.drivername, parsed.host, parsed.port, parsed.database, parsed.password)
    assert address == ("postgresql", "db", 5433, "bot", SECRET)
    assert masked(parsed) == "postgresql://ada:***@db:5433/bot?sslmode=require"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"ada:{SECRET}", "malformed.* It should look like postgresql://.*write @ as %40"),
        (f"postgresql://ada:{SECRET}@db:port/bot", "malformed"),
        (f"postgresql://ada:{SECRET}@db/bot", "malformed"),
        ("postgresql://ada:s3cr@t@db/bot", "malformed"),
        ("postgresql://ada:abc@s3cr?t@db/bot", "malformed"),
        ("postgresql://ada@db/bot?connect_timeout=²", "not a number of seconds"),
        (f"postgresql//ada:{SECRET}@db/bot", "malformed"),
        (f"mysql://ada:{ENCODED}@db/bot", "starts with mysql://.* Start it with one of: post"),
        (f"postgresql+psycopg2://ada:{ENCODED}@db/bot", r"starts with postgresql\+psycopg2://"),
        (f"postgresql://ada@db/bot?password={ENCODED}", "do not treat alike: password"),
        (f"postgresql://ada:{ENCODED}@db/bot?keepalives=1", "do not treat alike: keepalives"),
        (f"postgresql://ada:{ENCODED}@db/bot?sslmode=a&sslmode=b", "more than once: sslmode"),
        (f"postgresql://ada:{ENCODED}@db/bot?connect_timeout=soon", "not a number of seconds"),
        (f"postgresql://ada:{ENCODED}@db/bot?pooler=statement", "can only be transaction"),
    ],
)
def test_refusals_state_the_reason_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(DatabaseURLError, match=reason) as caught:
        parse(url)
    assert not re.search(r"s3cr|%x|\n", str(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("//db/bot", "db", ""),
        ("//db:5433/bot", "db", "5433"),
        ("//[::1]/bot", "::1", ""),
        ("//[::1]:5433/bot", "::1", "5433"),
        ("//a,b/bot", "a,b", ""),
        ("//a:1,b:2/bot", "a,b", "1,2"),
        (f"//ada:{ENCODED}@a:1,[fe80::1]:2/bot", "a,fe80::1", "1,2"),
        (f"//ada:{ENCODED}@db/bot", "db", ""),
        ("//a,b:2/bot", "a,b", "5432,2"),
        ("//%2Frun%2Fa%20b:5433/bot", "/run/a b", "5433"),
        ("///bot?host=db", "db", ""),
        ("///bot?host=::1", "::1", ""),
        ("///bot?host=[::1]", "::1", ""),
        ("///bot?host=127.0.0.1,::1&port=5433", "127.0.0.1,::1", "5433,5433"),
        ("///bot?host=127.0.0.1,::1&port=1,2", "127.0.0.1,::1", "1,2"),
        ("///bot?host=a:1,b:2", "a,b", "1,2"),
        ("///bot?host=/run/a+b,db&port=5432,5433", "/run/a b,db", "5432,5433"),
        ("///bot?port=5433", "", "5433"),
    ],
)
def test_both_drivers_get_the_same_addresses(url: str, hosts: str, ports: str) -> None:
    """A port for each host, or none, which is 5432 for both; a password as it was encoded."""
    target = parse(f"postgresql:{url}")
    libpq, asyncpg = libpq_arguments(target), asyncpg_arguments(target)
    for name, expected in (("host", hosts), ("port", ports)):
        assert str(libpq.get(name, "")) == ",".join(map(str, asyncpg.get(name, []))) == expected
    assert libpq.get("password") == asyncpg.get("password") == (SECRET if "@" in url else None)
    assert (target.database, parse(rendered(target))) == ("bot", target)


@pytest.mark.parametrize(
    "url",
    [
        *("//a:x/bot", "//a:0/bot", "//a:65536/bot", "//a,,b/bot", "//a:1,b:x/bot", "//[::1/bot"),
        *("///bot?port=abc", "///bot?port=0", "///bot?port=²", "///bot?host=a,&port=1"),
        *("///bot?host=a:x", "///bot?host=a,b&port=1,2,3", "///bot?host=a:1&port=2"),
        *("//a?host=b", "//a:1?port=2"),
    ],
)
@pytest.mark.parametrize("user", ["", "ada:s3cr:t@"])
def test_other_addresses_are_refused(url: str, user: str) -> None:
    with pytest.raises(DatabaseURLError) as caught:
        parse(f"postgresql://{user}{url[2:]}")
    assert "malformed" in str(caught.value) or "name host and port once" in str(caught.value)
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_that_one_driver_ignores_are_refused(name: str) -> None:
    environment = {VARIABLES[name]: "5432"}
    if name in urls.OPTIONS | urls.HARMLESS | {"user", "password", "dbname"}:
        parse("postgresql:///trading", environment)
        return
    for url in ("postgresql:///trading", "postgresql://ada@db:5433/trading"):
        with pytest.raises(DatabaseURLError, match=f"^{VARIABLES[name]} "):
            parse(url, environment)


def test_variables_complete_the_url_for_both_drivers(
    alembic_cli: AlembicCli, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert ask_asyncpg(url, "SHOW statement_timeout") == "59s"
    assert ask_asyncpg(url, "SHOW timezone") != "Asia/Tokyo"


@pytest.mark.parametrize("ask", [ask_asyncpg, ask_psycopg])
@pytest.mark.parametrize(
    ("option", "query", "answer"),
    [
        ("application_name=books", "SHOW application_name", "books"),
        ("options=-c%20work_mem%3D12MB", "SHOW work_mem", "12MB"),
        ("connect_timeout=7", "SELECT 1", 1),
        ("connect_timeout=0", "SELECT 1", 1),
        ("sslmode=prefer", "SELECT 1", 1),
        ("pooler=transaction", "SELECT 1", 1),
        ("target_session_attrs=read-write", "SHOW transaction_read_only", "off"),
    ],
)
def test_options_and_schemes_work_with_both_drivers(
    database: str, ask: Any, option: str, query: str, answer: object
) -> None:
    separator = "&" if "?" in database else "?"
    for scheme in urls.SCHEMES:
        url = database.replace("postgresql://", f"{scheme}://")
        assert ask(f"{url}{separator}{option}", query) == answer
