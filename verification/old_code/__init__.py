"""Runs the code of one revision on the schema of the next one.

During a deployment the old code runs on the new schema. Its statements are derived from the
database at the previous revision, with which the models of that time agreed: it inserts, selects,
updates, deletes and upserts, as the application's role, each column by name, with values that the
database accepted. All of them run before the revision and after it, on the connections that were
open (with their prepared statements) and on new ones.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

import psycopg
from alembic.script import Script
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from trading_bot_schema.docstrings import OldCode, unwritten
from verification.databases import execute, sync_engine
from verification.history import Databases
from verification.old_code import queries
from verification.old_code.statements import (
    Outcome,
    StatementCase,
    attempt,
    other_values,
    part_works,
    statement_cases,
    works,
)
from verification.old_code.tables import OldTable, Refused, read_tables, remove_rows
from verification.old_code.values import FOREIGN_KEY_VIOLATION, Values, insert_rows
from verification.old_code.views import read_cases
from verification.project import Project, before
from verification.roles import as_role

Upgrade = Callable[[str], object]
"""Runs a revision on a database."""
Prepared = tuple[str, dict[str, OldTable], list[StatementCase]]
"""The name of a database without the spare rows, to copy, its tables, and the statements."""

# Classes of SQLSTATEs: data exceptions, constraints, and PL/pgSQL errors of triggers.
REFUSALS = ("22", "23", "P0")


def of_revision(databases: Databases, script: Script) -> OldCode:
    """Run old code before a revision of the project and after it.

    The databases must belong to the role that migrates, and have an application's role.
    """
    outcome = observe(
        databases,
        databases.filled_template(*before(script)),
        lambda url: databases.project.migrate(url, script.revision),
        unwritten(script.longdoc),
    )
    return replace(outcome, breaks=outcome.breaks | queries.broken_by(databases, script))


def observe(
    databases: Databases, template: str, upgrade: Upgrade, unwritten: frozenset[str] = frozenset()
) -> OldCode:
    """Run old code before a revision and after it.

    Args:
        databases: Those of the project.
        template: The name of a database with rows, at the revision before.
        upgrade: Runs the revision on a database.
        unwritten: Columns that code does not write yet, such as ``staff.wage``.
    """
    prepared = databases.once(
        ("old code", template, unwritten), lambda: _prepared(databases, template, {}, unwritten)
    )
    try:
        outcome = asyncio.run(_outcome(databases, prepared, upgrade))
        fails = False
        table = ""
    except DBAPIError as error:
        if not str(getattr(error.orig, "sqlstate", "")).startswith(REFUSALS):
            raise
        fails = True
        table = getattr(getattr(error.orig, "diag", None), "table_name", "") or ""
    if not fails and not outcome.breaks:
        return outcome
    # Once more, with only the rows that the revision accepts, to find the other failures.
    refused = _refused_rows(databases, prepared, upgrade)
    if table and not any(refused.values()):
        # No constraint does, but the statements, such as those that make two rows alike.
        return OldCode(frozenset({f"rows of {table}"}))
    if any(refused.values()) or fails:
        prepared = _prepared(databases, template, refused, unwritten)
        removed = refused if fails else None
        outcome = asyncio.run(_outcome(databases, prepared, upgrade, removed))
    if not fails:
        return outcome
    # A row may be refused because the one that it references is.
    tables = {name for name, rows in refused.items() if {*rows.values()} - {FOREIGN_KEY_VIOLATION}}
    tables = tables or {name for name, rows in refused.items() if rows}
    return replace(outcome, breaks=outcome.breaks | {f"rows of {name}" for name in tables})


def _prepared(
    databases: Databases, template: str, refused: Refused, unwritten: frozenset[str]
) -> Prepared:
    url = databases.make(template)
    with sync_engine(as_role(url)).begin() as connection:
        tables = read_tables(connection, refused, unwritten)
        cases = [case for old in tables.values() for case in statement_cases(old)]
        return databases.keep(url), tables, [*cases, *read_cases(connection, tables)]


def _refused_rows(databases: Databases, prepared: Prepared, upgrade: Upgrade) -> Refused:
    """Return the rows that can no longer be inserted after a revision."""
    template, tables, _ = prepared
    url = databases.make(template)
    execute(as_role(url), f"TRUNCATE {', '.join(tables)} CASCADE")
    earlier = _errors(url, tables)
    upgrade(url)
    later = _errors(url, tables)
    return {
        name: {
            old.key_of(texts): after
            for (_, texts), before, after in zip(old.rows, earlier[name], later[name], strict=True)
            if after.startswith(REFUSALS) and not before
        }
        for name, old in tables.items()
    }


def _errors(url: str, tables: Mapping[str, OldTable]) -> dict[str, list[str]]:
    """Return the SQLSTATE of each row that cannot be inserted, else an empty text."""
    with psycopg.connect(as_role(url)) as session:
        errors = {name: insert_rows(session, old) for name, old in tables.items()}
        session.rollback()
        return errors


async def _outcome(
    databases: Databases, prepared: Prepared, upgrade: Upgrade, removed: Refused | None = None
) -> OldCode:
    template, tables, cases = prepared
    url = databases.make(template)
    project, role = databases.project, databases.app
    async with AsyncExitStack() as stack:
        # An engine for each table: after a failure, an engine prepares all statements again.
        names = {case.old.name for case in cases}
        open_ = {name: await _connect(stack, project, url, role) for name in names}
        before = [(case, await attempt(open_[case.old.name], case)) for case in cases]
        with psycopg.connect(as_role(url, role), autocommit=True) as session:
            values = Values(session, tables.values())
            if removed:
                with sync_engine(as_role(url)).begin() as connection:
                    remove_rows(connection, tables, removed)
            upgrade(url)
            new = await _connect(stack, project, url, role)
            outcome = await _compare(before, open_, new)
            return replace(outcome, breaks=_shortest(outcome.breaks | values.refused()))


async def _connect(
    stack: AsyncExitStack, project: Project, url: str, role: str
) -> AsyncConnection:
    """Connect as the application does, in the role of the application."""
    server = make_url(url).difference_update_query(["options"])
    engine = project.engine(
        server.render_as_string(hide_password=False),
        connect_args={"server_settings": {"role": role}},
    )
    stack.push_async_callback(engine.dispose)
    return await stack.enter_async_context(engine.connect())


async def _compare(
    before: list[tuple[StatementCase, Outcome]],
    open_: dict[str, AsyncConnection],
    new: AsyncConnection,
) -> OldCode:
    breaks: set[str] = set()
    fails_once: set[str] = set()
    for case, outcome in before:
        connection = open_[case.old.name]
        if not works(case, outcome, await attempt(connection, case)):
            after = await attempt(connection, case)
            if works(case, outcome, after):
                fails_once.add(case.old.name)
            else:
                breaks |= await _parts(connection, case, outcome, after)
        if not works(case, outcome, after := await attempt(new, case)):
            breaks |= await _parts(new, case, outcome, after)
    return OldCode(frozenset(breaks), frozenset(fails_once))


def _shortest(breaks: frozenset[str]) -> frozenset[str]:
    """Omit what is implied: an upsert inserts, and a table has columns."""
    inserts = {name.removeprefix("insert into ") for name in breaks if name.startswith("insert")}
    return frozenset(
        name
        for name in breaks
        if name.rpartition(".")[0] not in breaks
        and not (name.startswith("upsert into ") and name.split()[2] in inserts)
    )


async def _parts(
    connection: AsyncConnection, case: StatementCase, before: Outcome, after: Outcome
) -> set[str]:
    """Return the columns with which a statement breaks, or the statement if all or none do."""
    broken = case.parts.keys() & other_values(case, before, after)
    if after.error is not None:
        broken = {
            column
            for column, statement in case.parts.items()
            if not part_works(case, column, await attempt(connection, case, statement))
        }
    if not broken or broken == case.parts.keys():
        return {case.name}
    return {f"{case.name}.{column}" for column in broken}
