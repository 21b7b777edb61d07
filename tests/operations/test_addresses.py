"""Each way to write an address in a URL leads both drivers to the same server, or is refused."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from models.database import make_engine
from tests.support import commandline
from tests.support.alembic_cli import AlembicCli, Result
from trading_bot_schema import embedded
from trading_bot_schema.drivers import asyncpg_arguments, libpq_arguments
from trading_bot_schema.url import DatabaseURLError, parse, rendered
from verification import databases

SPACE = "a space, 100% & more+"


def addresses(url: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the hosts and ports that libpq and asyncpg try."""
    target = parse(url)
    libpq = libpq_arguments(target)
    hosts, ports = (
        str(libpq.get(name, default)) for name, default in (("host", ""), ("port", "5432"))
    )
    listed = hosts.split(",")
    numbers = ports.split(",") if "," in ports else [ports] * len(listed)
    asyncpg = asyncpg_arguments(target)
    others = asyncpg.get("port", 5432)
    others = others if isinstance(others, list) else [others] * len(listed)
    return (
        list(zip(listed, numbers, strict=True)),
        list(zip(asyncpg.get("host", [""]), map(str, others), strict=True)),
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("//db/bot", ["db 5432"]),
        ("//db:5433/bot", ["db 5433"]),
        ("//[::1]/bot", ["::1 5432"]),
        ("//[::1]:5433/bot", ["::1 5433"]),
        ("//a,b/bot", ["a 5432", "b 5432"]),
        ("//a:1,b:2/bot", ["a 1", "b 2"]),
        ("//ada:pw@a:1,[fe80::1]:2/bot", ["a 1", "fe80::1 2"]),
        ("//a,b:2/bot", ["a 5432", "b 2"]),
        ("//%2Frun%2Fa%20b:5433/bot", ["/run/a b 5433"]),
        ("///bot?host=db", ["db 5432"]),
        ("///bot?host=::1", ["::1 5432"]),
        ("///bot?host=[::1]", ["::1 5432"]),
        ("///bot?host=127.0.0.1,::1&port=5433", ["127.0.0.1 5433", "::1 5433"]),
        ("///bot?host=127.0.0.1,::1&port=1,2", ["127.0.0.1 1", "::1 2"]),
        ("///bot?host=a:1,b:2", ["a 1", "b 2"]),
        ("///bot?host=/run/a+b,db&port=5432,5433", ["/run/a b 5432", "db 5433"]),
        ("///bot?port=5433", [" 5433"]),
    ],
)
def test_addresses(url: str, expected: list[str]) -> None:
    for found in addresses(f"postgresql:{url}"):
        assert [" ".join(address) for address in found] == expected
    target = parse(f"postgresql:{url}")
    assert target.database == "bot"
    assert parse(rendered(target)) == target


@pytest.mark.parametrize(
    "url",
    [
        *("//a:x/bot", "//a:0/bot", "//a:65536/bot", "//a,,b/bot", "//a:1,b:x/bot", "//[::1/bot"),
        *(
            "///bot?port=abc",
            "///bot?port=0",
            "///bot?port=²",
            "///bot?host=a,&port=1",
            "///bot?host=a:x",
        ),
        *("///bot?host=a,b&port=1,2,3", "///bot?host=a:1&port=2", "//a?host=b", "//a:1?port=2"),
    ],
)
@pytest.mark.parametrize("password", ["", "s3cr:t"])
def test_other_addresses_are_refused(url: str, password: str) -> None:
    if password:
        url = f"//ada:{password}@{url[2:]}"
    with pytest.raises(DatabaseURLError) as caught:
        parse(f"postgresql:{url}")
    assert "malformed" in str(caught.value) or "name host and port once" in str(caught.value)
    assert "s3cr" not in str(caught.value)


@pytest.fixture(scope="module")
def spaced_home() -> Iterator[Path]:
    """A directory for an embedded server, whose path needs quoting everywhere."""
    with embedded.temporary({"fsync": "off"}) as url:
        plain = Path(str(url.query["host"]))
        embedded.stop(plain)
        spaced = plain.parent / SPACE
        plain.rename(spaced)
        yield spaced
        embedded.stop(spaced)
        spaced.rename(plain)


@pytest.mark.parametrize("name", ["plain", SPACE])
def test_spaces_in_paths_names_and_options(
    alembic_cli: AlembicCli,
    package_command: Callable[..., Result],
    spaced_home: Path,
    name: str,
) -> None:
    """Of a checkout, a database and an option."""
    server = embedded.start(spaced_home)
    with databases.database(rendered(server), name) as created:
        target = make_url(created).update_query_dict({"options": "-c statement_timeout=59s"})
        url = rendered(parse(rendered(target)))
        alembic_cli.run("upgrade", "head", database=url).succeeded()
        for command in ("plan", "drift"):
            assert package_command(command, database=url).succeeded()
        with psycopg.connect(url) as connection:  # libpq reads the logged form, too
            assert connection.execute("SHOW statement_timeout").fetchone() == ("59s",)
        engine = make_engine(url)

        async def ask() -> None:
            async with engine.connect() as connection:
                assert await connection.scalar(text("SELECT current_database()")) == name
            await engine.dispose()

        asyncio.run(ask())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "postgres\n"),
        (("books",), "books\n"),
        (("--dbname=books",), "books\n"),
        (("--dbname", "dbname=books"), "books\n"),
        (("no_such_database",), ""),
    ],
)
def test_psql_runs_in_the_database_that_it_is_given(
    spaced_home: Path, arguments: tuple[str, ...], expected: str
) -> None:
    server = rendered(embedded.start(spaced_home))
    with databases.database(server, "books"):
        result = commandline.run(
            *("trading_bot_schema", "postgres", "psql", "--no-psqlrc", "-At"),
            *("-c", "SELECT current_database()", *arguments),
            DATABASE_URL=f"embedded:///{spaced_home}",
            PGHOST="nowhere.invalid",
            PGDATABASE="template1",
            PGSERVICE="none",
        )
        assert (result.stdout, result.status == 0) == (expected, bool(expected)), result.stderr
