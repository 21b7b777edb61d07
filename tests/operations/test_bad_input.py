"""Bad input causes a one-line error and a non-zero status, changes nothing and exposes no secret.

Each case runs the real command line twice, the second time with every logger at DEBUG.
"""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import pytest
from sqlalchemy import make_url

from tests.operations.landed import HEAD
from tests.support import commandline
from tests.support.alembic_cli import AlembicCli, Result
from tests.trading_bot import ROOT
from trading_bot_schema import embedded
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases

SECRET = "hunter2"  # noqa: S105
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2VjcmV0"


@pytest.fixture(scope="session")
def debug_ini(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The project's configuration, with every logger at DEBUG."""
    text = (ROOT / "alembic.ini").read_text()
    text = text.replace("%(here)s", str(ROOT))
    for level in ("INFO", "WARNING"):
        text = text.replace(f"level = {level}", "level = DEBUG")
    # psycopg has its own level.
    text = text.replace("keys = root,", "keys = root,psycopg,")
    text += "\n[logger_psycopg]\nlevel = DEBUG\nhandlers =\nqualname = psycopg\n"
    path = tmp_path_factory.mktemp("debug") / "alembic.ini"
    path.write_text(text)
    return str(path)


@pytest.fixture
def refused(alembic_cli: AlembicCli, debug_ini: str) -> Callable[..., str]:
    """Run a command that must fail, and return its message."""

    def run(database: str | None, *arguments: str) -> str:
        arguments = arguments or ("upgrade", "head")
        result = alembic_cli.run(*arguments, database=database)
        debug = alembic_cli.run("-c", debug_ini, *arguments, database=database)
        _assert_no_secret(debug)
        return _message(result)

    return run


def _message(result: Result) -> str:
    line = result.refusal()
    assert line.startswith("ERROR [alembic.util.messaging] "), line
    assert "Traceback" not in result.output
    _assert_no_secret(result)
    return line


def _assert_no_secret(result: Result) -> None:
    assert SECRET not in result.output
    assert HASH not in result.output


@pytest.mark.parametrize(
    ("url", "messages"),
    [
        pytest.param("", ["DATABASE_URL is set but empty", "unset it"], id="empty"),
        pytest.param(
            f"postgresql:/user:{SECRET}@host/db",
            ["malformed", "It should look like postgresql://user:password@host:5432/database"],
            id="malformed",
        ),
        pytest.param(
            f"postgresql://user:{SECRET}@host:port/db", ["malformed"], id="malformed-port"
        ),
        pytest.param(
            f"postgresql://user:@1@{SECRET}@host/db",
            ["malformed", "write @ as %40"],
            id="malformed-password",
        ),
        pytest.param(
            f"mysql://user:{SECRET}@host/db",
            ["starts with mysql://", "Start it with one of: postgresql://"],
            id="dialect",
        ),
        pytest.param(
            f"postgresql+pg8000://user:{SECRET}@host/db",
            ["starts with postgresql+pg8000://", "Start it with one of: postgresql://"],
            id="driver",
        ),
        pytest.param(
            f"postgresql://user:{SECRET}@host.invalid/db",
            ["host.invalid", "Check DATABASE_URL"],
            id="unknown-host",
        ),
    ],
)
def test_bad_url(refused: Callable[..., str], url: str, messages: list[str]) -> None:
    line = refused(url)
    assert all(message in line for message in messages), line


def test_refused_port(refused: Callable[..., str]) -> None:
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        url = f"postgresql://user:{SECRET}@127.0.0.1:{bound.getsockname()[1]}/db"
        line = refused(url, "-x", "connect_wait=0", "upgrade", "head")
    assert "Connection refused" in line
    assert "Check that it is up, and host and port in DATABASE_URL." in line


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ({"username": "no_such_user", "password": SECRET}, "no_such_user"),
        ({"password": f"{SECRET}@%/"}, 'password authentication failed for user "bot"'),
    ],
)
def test_unknown_database_or_user_or_wrong_password(
    refused: Callable[..., str], password_server: str, part: dict[str, str], message: str
) -> None:
    url = make_url(password_server).set(**part)  # type: ignore[arg-type]
    line = refused(url.render_as_string(hide_password=False))
    assert message in line
    assert "Check DATABASE_URL" in line


class WithoutEncryption(BaseRequestHandler):
    """Answers the request for encryption as a server that offers none."""

    def handle(self) -> None:
        # PostgreSQL docs, "Message Flow": SSL Session Encryption.
        self.request.recv(8)
        self.request.sendall(b"N")


def test_encryption_required_but_not_offered(refused: Callable[..., str]) -> None:
    # A server on TCP, since encryption does not matter on a Unix socket.
    with TCPServer(("127.0.0.1", 0), WithoutEncryption) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        line = refused(f"postgresql://bot:{SECRET}@127.0.0.1:{port}/postgres?sslmode=require")
        server.shutdown()
    assert "server does not support SSL, but SSL was required" in line
    assert "sslmode" in line


def test_missing_privilege(
    refused: Callable[..., str], empty_database: str, make_role: Callable[..., str]
) -> None:
    role = make_role()
    databases.execute(empty_database, f"ALTER ROLE {role} PASSWORD '{SECRET}'")
    url = make_url(empty_database).set(username=role, password=SECRET)
    line = refused(url.render_as_string(hide_password=False))
    assert "permission denied for schema public" in line
    assert "as one with the CREATE privilege" in line
    assert snapshot(empty_database).columns == {}


def test_read_only_server(refused: Callable[..., str], empty_database: str, server: str) -> None:
    name = make_url(empty_database).database
    databases.execute(server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    line = refused(empty_database)
    assert "cannot execute CREATE TABLE in a read-only transaction" in line
    assert "see default_transaction_read_only" in line
    assert "standby" not in line
    assert snapshot(empty_database).columns == {}


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ("upgrade nosuch", ["Can't locate revision identified by 'nosuch'", "`alembic history`"]),
        ("downgrade nosuch", ["Can't locate revision identified by 'nosuch'"]),
        ("upgrade ", ["There is no such revision"]),
        ("upgrade head+1", ["There is no such revision"]),
    ],
)
def test_unknown_revision(
    refused: Callable[..., str], database: str, arguments: str, messages: list[str]
) -> None:
    line = refused(database, *arguments.split(" "))
    assert all(message in line for message in messages)
    assert databases.version(database) == HEAD


@pytest.mark.parametrize(
    "arguments",
    [
        ("upgrade", "head"),
        ("downgrade", "base"),
        ("current",),
        ("check",),
        ("-x", "ahead=accept", "downgrade", "base"),
        ("-x", "ahead=accept", "downgrade", "-1"),
        ("-x", "ahead=accept", "upgrade", "+1"),
        ("-x", "ahead=accept", "check"),
    ],
)
def test_database_at_an_unknown_revision(
    refused: Callable[..., str], database: str, arguments: tuple[str, ...]
) -> None:
    databases.execute(database, "UPDATE alembic_version SET version_num = 'future'")
    before = snapshot(database)
    line = refused(database, *arguments)
    assert "The database is at revision future, which is not among the migrations here" in line
    assert f"whose head is {HEAD}" in line
    assert "Deploy that version, or downgrade with it first." in line
    assert "-x ahead=accept" in line
    assert "stamp" not in line
    assert snapshot(database) == before


def test_table_exists(refused: Callable[..., str], empty_database: str) -> None:
    databases.execute(empty_database, f"CREATE TABLE users AS SELECT '{HASH}' AS hashed_password")
    before = snapshot(empty_database)
    line = refused(empty_database)
    assert 'relation "users" already exists' in line
    assert "Use an empty database, or" in line
    assert snapshot(empty_database) == before


def test_unwritable_data_directory(refused: Callable[..., str], reachable_directory: Path) -> None:
    home = reachable_directory / "server"
    # No user, not even root, can write below a file.
    home.write_text("not a directory")
    for path in (home, home / "deeper" / "server"):
        line = refused(f"embedded:///{path}")
        assert f"The embedded PostgreSQL cannot use {path}: Not a directory." in line
        assert "Make the directory writable, or set DATABASE_URL to another server." in line
    assert home.read_text() == "not a directory"


def test_corrupted_data_directory(refused: Callable[..., str], reachable_directory: Path) -> None:
    home = reachable_directory / "server"
    embedded.start(home)
    embedded.stop(home)
    version_file = home.resolve() / "data" / "PG_VERSION"
    for corrupt, reason in (
        (version_file.unlink, "is not a database cluster directory"),  # pg_ctl's message
        (lambda: version_file.write_text("1\n"), "files are incompatible"),  # the server's log
    ):
        corrupt()
        line = refused(f"embedded:///{home}")
        assert re.search(f"The embedded PostgreSQL does not start: .*{reason}", line)
        assert f"to start afresh without its data, delete {home}" in line


def test_missing_driver(tmp_path: Path, empty_database: str) -> None:
    # In a new interpreter: the command line of the other tests has the drivers loaded.
    name = "No module named 'psycopg'"
    (tmp_path / "psycopg.py").write_text(f"raise ModuleNotFoundError({name!r})")
    result = commandline.run(
        *("alembic", "upgrade", "head"), DATABASE_URL=empty_database, PYTHONPATH=str(tmp_path)
    )
    line = _message(result)
    assert name in line
    assert "pip install" in line
    assert snapshot(empty_database).columns == {}


def test_debug_logging_is_enabled(
    alembic_cli: AlembicCli, debug_ini: str, empty_database: str
) -> None:
    result = alembic_cli.run("-c", debug_ini, "upgrade", "head", database=empty_database)
    assert "DEBUG [psycopg] connection attempt" in result.stderr
    assert "INFO  [sqlalchemy.engine.Engine] INSERT INTO alembic_version" in result.stderr
    assert "DEBUG [alembic.runtime.migration] new branch insert" in result.stderr


def test_traceback_on_request(alembic_cli: AlembicCli) -> None:
    result = alembic_cli.run(
        "--raiseerr", "upgrade", "head", database=f"postgresql://user:{SECRET}@host.invalid/db"
    )
    assert "Traceback (most recent call last)" in result.stderr
    _assert_no_secret(result)
