"""Interrupts a revision wherever a part of it is committed, and runs it again.

``autocommit_block()`` commits the statements before it, without the revision's entry in
``alembic_version``: the next run repeats all of them. A statement outside a transaction may also
be interrupted half-way: ``CREATE INDEX CONCURRENTLY`` then leaves an invalid index.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from trading_bot_schema.drift.catalogue import differences, snapshot
from verification import databases
from verification.content import content, lost
from verification.cursors import intercept, run
from verification.observation import Observation, Statement
from verification.roles import as_role
from verification.rules import Violation
from verification.tables import TABLES

MAX_PLACES = 10
"""Number of interruptions counted from the start, and of those counted from the end."""
NAMES = f"SELECT string_agg(name, ', ') FROM ({TABLES}) t"


class _Interrupted(Exception):  # noqa: N818
    """The interruption of a run."""


def rerun_violations(
    observation: Observation,
    migrate: Callable[[Connection], object],
    reference: str,
    start: Callable[[], str],
) -> Iterator[Violation]:
    """Interrupt a migration at each place in turn, then let it finish; yield its violations.

    Args:
        observation: Its effects without an interruption.
        migrate: Runs it.
        reference: URL of a database on which it has run.
        start: Creates a database on which it has not.
    """
    places = list(_places(observation))
    if not places:
        return
    # In a long sequence of batches, each is like the one before it.
    places = places[:MAX_PLACES] + places[MAX_PLACES:][-MAX_PLACES:]
    url = start()
    for place, within in [*places, (None, False)]:
        try:
            with databases.sync_engine(url).connect() as connection:
                with _interruption(connection, place, within=within):
                    migrate(connection)
                connection.commit()
        except _Interrupted:
            continue
        except (DBAPIError, psycopg.Error) as error:
            failed = Statement(getattr(error, "statement", "") or "", 0)
            cause = str(getattr(error, "orig", error)).splitlines()[0]
            yield Violation(
                "run-again",
                frozenset(),
                f"{failed.short}: fails when the revision is run again after an interruption:"
                f" {cause}. autocommit_block() commits what came before it, here"
                f" {_committed(observation, places)}, but not the entry in"
                " alembic_version. Split the revision in two: one for the statements in"
                " autocommit_block() and one for the rest. See “Run again after an interruption”"
                f" in {observation.project.guide_name}.",
            )
            return
    if difference := _difference(reference, url, migrate, start):
        yield Violation(
            "run-again",
            frozenset(),
            f"{_committed(observation, places)}: when the revision is run again after an"
            " interruption, the result differs from that of a single run."
            " autocommit_block() commits each statement, but not the entry in alembic_version, so"
            " every statement in it has to be repeatable (for an index: DROP INDEX CONCURRENTLY IF"
            " EXISTS first, since an interrupted build leaves an invalid one). See “Run again"
            f" after an interruption” in {observation.project.guide_name}. The"
            f" difference:\n{difference}",
        )


def _places(observation: Observation) -> Iterator[tuple[int, bool]]:
    """Yield the numbers of statements to interrupt before, or within (True)."""
    statements = observation.statements
    stamp = next(
        (n for n, s in enumerate(statements) if _is_stamp(observation, s)), len(statements) - 1
    )
    for number, statement in enumerate(statements[: stamp + 1]):
        earlier = statements[number - 1] if number else None
        if earlier and earlier.writes and earlier.transaction != statement.transaction:
            yield number, False
        if not statement.can_be_in_transaction and statement.writes:
            yield number, True


def _is_stamp(observation: Observation, statement: Statement) -> bool:
    table = re.escape(observation.project.version_table)
    return re.match(rf"(INSERT INTO|UPDATE|DELETE FROM) {table}\b", statement.sql) is not None


def _committed(observation: Observation, places: list[tuple[int, bool]]) -> str:
    """Return the statements that are committed before the entry in ``alembic_version``."""
    last = max(number for number, _ in places)
    committed = [
        s.short
        for s in observation.statements[:last]
        if s.writes and not _is_stamp(observation, s)
    ]
    return "; ".join(committed) or observation.statements[last].short


@contextmanager
def _interruption(connection: Connection, place: int | None, *, within: bool) -> Iterator[None]:
    """Interrupt a connection before its nth statement, or within it while it waits for a lock."""
    number = -1

    @contextmanager
    def statement(raw: psycopg.Connection[Any], *_: object) -> Iterator[None]:
        nonlocal number
        number += 1
        if number == place:
            if not within:
                raise _Interrupted
            # Building or dropping an index concurrently waits for the end of writers.
            (tables,) = holder.execute(NAMES).fetchone() or ("",)
            holder.execute(f"LOCK TABLE {tables} IN ROW EXCLUSIVE MODE")
            run(raw, "SET lock_timeout = '10ms'")
        yield
        if number == place:
            raise _Interrupted

    intercept(connection, statement)
    url = connection.engine.url.set(drivername="postgresql")
    with psycopg.connect(as_role(url)) as holder:
        try:
            yield
        except (DBAPIError, psycopg.Error):
            if place is not None and number >= place:
                raise _Interrupted from None
            raise


def _difference(
    reference: str, rerun: str, migrate: Callable[[Connection], object], start: Callable[[], str]
) -> str:
    """Return the differences of a database from one on which the migration ran once."""
    sides = ("run once", "run again")
    report = differences(snapshot(reference), snapshot(rerun), sides, lambda _: "the revision", {})
    changed = lost(content(reference), content(rerun))
    if changed:
        # Exclude what differs between any two runs, such as the time of a change.
        other = start()
        with databases.sync_engine(other).connect() as connection:
            migrate(connection)
            connection.commit()
        changed -= lost(content(reference), content(other))
    rows = [f"rows of {name}" for name in sorted(changed)]
    return "\n".join([report, *rows] if report else rows)
