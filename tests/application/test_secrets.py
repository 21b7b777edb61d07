"""Errors, logs, reprs and pickled URLs contain no password and no value of a row."""

import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from models import ApiKey, User
from models.database import make_engine
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from trading_bot_schema.migrator import Settings, connect
from trading_bot_schema.redaction import hide_values
from trading_bot_schema.url import masked, parse
from verification import databases

SECRET = "c2VjcmV0"  # noqa: S105
PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}"


def _user(**values: Any) -> User:
    return User(**{"email": f"{SECRET}@example.com", "hashed_password": SECRET} | values)


# Each quotes a value elsewhere: in PostgreSQL's DETAIL, in its message, in the driver's.
FAILING: dict[str, Callable[[], list[Any]]] = {
    "duplicate key": lambda: [_user(), _user()],
    "check constraint": lambda: [_user(email="")],
    "foreign key": lambda: [ApiKey(user_id=0, encrypted_api_key=PEM, encrypted_secret_key=PEM)],
    "not null": lambda: [ApiKey(encrypted_api_key=PEM, encrypted_secret_key=PEM)],
    "too long": lambda: [_user(email=SECRET * 50)],
    "not a number": lambda: [ApiKey(user_id=PEM, encrypted_api_key=PEM, encrypted_secret_key=PEM)],
    "no parameter type": lambda: [_user(hashed_password=object)],
    "NUL": lambda: [_user(hashed_password=f"{SECRET}\0")],
}


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "sqlalchemy", "psycopg", "asyncpg", "asyncio", "alembic"):
        caplog.set_level(logging.DEBUG, name)


def _shown(error: BaseException) -> str:
    # The lines of this file contain the name of the secret, but not its value.
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.mark.parametrize("name", FAILING)
async def test_failing_insert(
    engine: AsyncEngine,
    session: AsyncSession,
    database: str,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """Through both drivers."""
    synchronous = databases.sync_engine(database)
    hide_values(synchronous)
    engine.sync_engine.echo = synchronous.echo = "debug"
    session.add_all(FAILING[name]())
    with pytest.raises(StatementError) as raised:
        await session.flush()
    with Session(synchronous) as by_psycopg:
        by_psycopg.add_all(FAILING[name]())
        with pytest.raises(StatementError) as raised_by_psycopg:
            by_psycopg.flush()
    assert SECRET not in caplog.text + _shown(raised.value) + _shown(raised_by_psycopg.value)
    assert caplog.text.count("INSERT INTO") >= 2
    assert "parameters hidden" in caplog.text
    if name == "duplicate key":
        assert 'violates unique constraint "ix_users_email"' in str(raised.value), "stays useful"


async def test_echo_of_rows(
    engine: AsyncEngine, session: AsyncSession, caplog: pytest.LogCaptureFixture
) -> None:
    engine.sync_engine.echo = "debug"
    user = _user(api_keys=[ApiKey(encrypted_api_key=PEM, encrypted_secret_key=PEM)])
    session.add(user)
    await session.commit()
    assert await session.scalar(select(ApiKey.encrypted_api_key)) == PEM
    assert SECRET not in f"{caplog.text} {user!r} {user.api_keys!r}"
    assert "SELECT api_keys.encrypted_api_key" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        # Bound values.
        "op.bulk_insert(users, [{'email': secret, 'hashed_password': secret}] * 2)",
        "op.bulk_insert(users, [{'email': '', 'hashed_password': secret}])",
        "op.get_bind().execute(sa.text('SELECT CAST(:value AS integer)'), {'value': secret})",
        # A literal value.
        "op.execute('INSERT INTO users VALUES (1, $$$$, $$' + secret + '$$)')",
        "op.execute('SELECT CAST($$' + secret + '$$ AS integer)')",
        "op.execute('SELECT $$' + secret)",
    ],
)
def test_failing_revision(
    alembic_cli: AlembicCli, database: str, revisions: Revisions, statement: str
) -> None:
    revisions.add(
        "probe",
        f"secret = bytes.fromhex({SECRET.encode().hex()!r}).decode()\n"
        "users = sa.table('users', sa.column('email'), sa.column('hashed_password'))\n"
        f"{statement}",
    )
    result = alembic_cli.run("-c", revisions.ini, "upgrade", "head", database=database)
    result.refusal()
    assert SECRET not in result.output
    if "op.execute" not in statement:
        result = alembic_cli.run(
            "-c", revisions.ini, "--raiseerr", "upgrade", "head", database=database
        )
        assert "Traceback" in result.stderr
        assert SECRET not in result.output


URL = f"postgresql://user:{SECRET}@host/db?application_name=bot"


def test_urls_and_engines_do_not_show_the_password(database: str) -> None:
    """Those of the application and of the migrator."""
    url = parse(URL)
    assert SECRET not in f"{url!r} {url} {masked(url)} {'%r' % (url,)}"  # noqa: UP031
    with connect(parse(database).set(password=SECRET), Settings()) as connection:
        for engine in (make_engine(URL), connection.engine):
            for shown in (engine, engine.url, engine.pool):
                assert SECRET not in f"{shown!r} {shown}"
            assert SECRET.encode() not in pickle.dumps(engine.url)
