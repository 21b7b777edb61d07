"""What code of one revision does, and what the next revision does to it.

During a deployment the old code runs on the new schema. What it does is derived from the database
at the revision before, with which the models of that time agreed: it inserts, selects, updates,
deletes and upserts, as the role of the application, each column by name, with values that the
database accepted. All of it is run before the revision and after it, on the connections that were
open (with their prepared statements) and on new ones.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress

import psycopg
from sqlalchemy import Connection, Engine, delete, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from models.database import make_engine
from tests.support import databases
from tests.support.old_code.statements import Outcome, Use, attempt, uses, works
from tests.support.old_code.tables import OldTable, read_tables
from tests.support.old_code.values import Values
from tests.support.roles import RoleDatabases, as_role
from trading_bot_schema.docstrings import OldCode

Upgrade = Callable[[str], None]
"""Runs a revision on a database."""

# With which rows the revision is run: the first works where the rows that were legal stay legal.
ALL, FIRST, NONE = range(3)


def what_happens(made: RoleDatabases, start: Callable[[], str], upgrade: Upgrade) -> OldCode:
    """Run old code before a revision and after it.

    Args:
        made: Has the roles.
        start: Makes a database with rows, at the revision before.
        upgrade: Runs the revision on a database.
    """
    refused: set[str] = set()
    for rows in (ALL, FIRST, NONE):
        url = start()
        try:
            breaks, fails_once = asyncio.run(_run(made, url, upgrade, rows))
        except _RowsRefused as error:
            if rows == NONE:
                raise error.error from error
            refused.add(f"rows of {error.table}")
        else:
            return OldCode(frozenset(breaks | refused), frozenset(fails_once))
        finally:
            made.drop(url)
    raise AssertionError


class _RowsRefused(Exception):  # noqa: N818
    def __init__(self, table: str, error: DBAPIError) -> None:
        super().__init__(table)
        self.table, self.error = table, error


async def _run(
    made: RoleDatabases, url: str, upgrade: Upgrade, rows: int
) -> tuple[set[str], set[str]]:
    superuser = databases.sync_engine(as_role(url, None))
    with superuser.begin() as connection:
        tables = read_tables(connection)
        if rows != ALL:
            _delete_others(connection, tables.values())
    async with AsyncExitStack() as stack:
        # An engine for each table, since its first failure renews the statements of all.
        engines = {name: _application(url, made.app) for name in ("", *tables)}
        for engine in engines.values():
            stack.push_async_callback(engine.dispose)
        open_ = {
            name: await stack.enter_async_context(engine.connect())
            for name, engine in engines.items()
            if name
        }
        before = [
            (use, await attempt(open_[old.name], use))
            for old in tables.values()
            for use in uses(old)
        ]
        settings = f"-c role={made.app}"
        with psycopg.connect(as_role(url, None), autocommit=True, options=settings) as session:
            values = Values(session, tables.values())
            if rows == NONE:
                with superuser.begin() as connection:
                    _delete_all(connection, tables.values())
            try:
                upgrade(url)
            except (IntegrityError, DataError) as error:
                raise _RowsRefused(_table_of(error, tables), error) from error
            if rows == NONE:
                _insert_first(superuser, tables.values())
            new = await stack.enter_async_context(engines[""].connect())
            breaks, fails_once = await _compare(before, open_, new)
            return breaks | values.refused(), fails_once


def _application(url: str, role: str) -> AsyncEngine:
    settings = {"role": role}
    return make_engine(as_role(url, None), connect_args={"server_settings": settings})


async def _compare(
    before: list[tuple[Use, Outcome]], open_: dict[str, AsyncConnection], new: AsyncConnection
) -> tuple[set[str], set[str]]:
    breaks: set[str] = set()
    fails_once: set[str] = set()
    for use, outcome in before:
        connection = open_[use.old.name]
        if not works(use, outcome, await attempt(connection, use)):
            if works(use, outcome, await attempt(connection, use)):
                fails_once.add(use.old.name)
            else:
                breaks |= await _parts(connection, use)
        if not works(use, outcome, await attempt(new, use)):
            breaks |= await _parts(new, use)
    inserts = {name for name in breaks if name.startswith("insert into ")}
    # An upsert inserts; and that a table is gone breaks all of it.
    return {
        name
        for name in breaks
        if not any(name.startswith(i.replace("insert", "upsert") + " ") for i in inserts)
    }, fails_once


async def _parts(connection: AsyncConnection, use: Use) -> set[str]:
    """Name the columns with which a use breaks, or the use if it is all of them, or none."""
    broken = {
        column
        for column, statement in use.parts.items()
        if (await attempt(connection, use, statement)).number != 1
    }
    if not broken or broken == use.parts.keys():
        return {use.name}
    return {f"{use.name}.{column}" for column in broken}


def _delete_others(connection: Connection, tables: Iterable[OldTable]) -> None:
    """Keep the first row of each table only."""
    for old in reversed(list(tables)):
        connection.execute(delete(old.table).where(~old.is_row(old.base)))


def _delete_all(connection: Connection, tables: Iterable[OldTable]) -> None:
    for old in reversed(list(tables)):
        connection.execute(delete(old.table))


def _insert_first(superuser: Engine, tables: Iterable[OldTable]) -> None:
    """Insert the first rows, where that is possible."""
    for old in tables:
        with suppress(DBAPIError), superuser.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(old.insert(old.base))


def _table_of(error: DBAPIError, tables: Iterable[str]) -> str:
    """Name the table whose rows a revision refuses."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None and diagnosis.table_name:
        return str(diagnosis.table_name)
    words = re.findall(r"\w+", error.statement or "")
    return next((word for word in words if word in tables), "some table")
