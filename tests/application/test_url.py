"""One URL works with both drivers, or is refused with the reason."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models.database import make_engine
from tests.trading_bot import ROOT
from trading_bot_schema import url as urls
from trading_bot_schema.drivers import asyncpg_arguments, libpq_arguments
from trading_bot_schema.target import connectable
from trading_bot_schema.url import (
    DatabaseURLError,
    database_url,
    masked,
    parse,
)

SECRET = "s3cr:t@/%x"  # noqa: S105
ENCODED = "s3cr%3At%40%2F%25x"


def test_environment_comes_before_configuration_and_default() -> None:
    assert database_url("configured", {"DATABASE_URL": "environment"}) == "environment"
    assert database_url("configured", {}) == "configured"
    assert database_url(None, {}) == urls.DEFAULT_URL
    assert f"embedded:///{ROOT / '.postgres'}" == urls.DEFAULT_URL
    # White space around it is removed.
    assert database_url(None, {"DATABASE_URL": " postgresql://db/bot\n"}) == "postgresql://db/bot"


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variable(value: str) -> None:
    with pytest.raises(DatabaseURLError, match="DATABASE_URL is set but empty"):
        database_url("configured", {"DATABASE_URL": value})


@pytest.mark.parametrize("scheme", urls.SCHEMES)
def test_schemes(scheme: str) -> None:
    parsed = parse(f"{scheme}://ada:{ENCODED}@db:5433/bot?sslmode=require")
    assert parsed.drivername == "postgresql"
    assert (parsed.host, parsed.port, parsed.database) == ("db", 5433, "bot")
    assert parsed.password == SECRET
    assert masked(parsed) == "postgresql://ada:***@db:5433/bot?sslmode=require"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"ada:{SECRET}", "malformed"),
        (f"postgresql://ada:{SECRET}@db:port/bot", "malformed"),
        (f"postgresql://ada:{SECRET}@db/bot", "malformed"),
        ("postgresql://ada:s3cr@t@db/bot", "malformed"),
        ("postgresql://ada:abc@s3cr?t@db/bot", "malformed"),
        ("postgresql://ada@db/bot?connect_timeout=²", "not a number of seconds"),
        (f"postgresql//ada:{SECRET}@db/bot", "malformed"),
        (f"mysql://ada:{ENCODED}@db/bot", "starts with mysql://"),
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
    message = str(caught.value)
    assert "s3cr" not in message
    assert "%x" not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_password_reaches_both_drivers() -> None:
    parsed = parse(f"postgresql://ada:{ENCODED}@db/bot")
    assert asyncpg_arguments(parsed)["password"] == SECRET
    assert libpq_arguments(parsed)["password"] == SECRET


async def ask_asyncpg(url: str, query: str) -> Any:
    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text(query))
    finally:
        await engine.dispose()


def ask_psycopg(url: str, query: str) -> Any:
    with psycopg.connect(**libpq_arguments(parse(url))) as connection:
        return (connection.execute(query.encode()).fetchone() or [None])[0]


@pytest.mark.parametrize(
    "ask", [lambda *arguments: asyncio.run(ask_asyncpg(*arguments)), ask_psycopg]
)
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


@pytest.mark.parametrize("path", ["/a/b/.postgres", "/with space/100%/.postgres"])
def test_embedded_url_is_a_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr("trading_bot_schema.embedded.start", started.append)
    connectable(f"embedded:///{path}")
    assert started == [Path(path)]
