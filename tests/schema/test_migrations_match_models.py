"""The migrations build what the models define, online, offline, and through asyncpg."""

from collections.abc import Callable

from alembic import command
from sqlalchemy import Connection

from models.database import make_engine
from tests.trading_bot import PROJECT
from trading_bot_schema.drift.catalogue import snapshot
from verification.agreement import run_sql
from verification.conformance import Conformance
from verification.history import offline


def test_models_and_migrations(empty_database: str, conformance: Conformance) -> None:
    # Not a copy of a template: a copy lacks the settings of the database itself.
    PROJECT.migrate(empty_database)
    assert not (report := conformance.drift(empty_database)), report


def test_offline_in_one_go(make_database: Callable[..., str], conformance: Conformance) -> None:
    url = make_database()
    run_sql(url, offline(PROJECT, command.upgrade, "head"))
    assert not (report := conformance.drift(url)), report
    run_sql(url, offline(PROJECT, command.downgrade, "head:base"))
    assert set(snapshot(url).columns) == {"TABLE public.alembic_version"}


async def test_through_asyncpg(empty_database: str, conformance: Conformance) -> None:
    def migrate(connection: Connection) -> None:
        command.upgrade(PROJECT.config(connection), "head")

    engine = make_engine(empty_database)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()
    assert not (report := conformance.drift(empty_database)), report
