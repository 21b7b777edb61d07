"""``python -m trading_bot_schema plan``: reports what would run, and what blocks it."""

import argparse
import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from trading_bot_schema import migrator
from trading_bot_schema.configuration import (
    alembic_config,
    check_revisions,
    configured_target,
)
from trading_bot_schema.migrator.connection import check_search_path
from trading_bot_schema.migrator.errors import reason
from trading_bot_schema.plan.obstacles import Effect, LockedTable, Obstacle, inspect
from trading_bot_schema.plan.revisions import (
    HEADINGS,
    PendingRevision,
    created_tables,
    pending,
    strongest_locks,
)
from trading_bot_schema.url import masked

LOCK_TIMEOUT = 100
"""Longest wait for the size of a table, in milliseconds."""


@dataclass(frozen=True)
class UpgradeReport:
    """What a migration would do."""

    database: str
    at: Sequence[str]
    to: str
    would_run: bool
    revisions: Sequence[PendingRevision]
    tables: Sequence[LockedTable]
    obstacles: Sequence[Obstacle]


def run(program: str, arguments: Sequence[str]) -> int:
    """Print what an upgrade would do; return 0 if it would run, 1 if something blocks it.

    Raises:
        CommandError: The database cannot be read, or is at an unknown revision.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Show what an upgrade of the database that DATABASE_URL names would run, what"
        " it would lock, and what would block it now. The database is only read.",
        epilog="Exit status: 0: it would run; 1: something blocks it; 2: an error.",
    )
    parser.add_argument("revision", nargs="?", default="head", help="by default, head")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    options = parser.parse_args(arguments)
    try:
        plan = make_plan(configured_target(alembic_config()), options.revision)
    except CommandError as error:
        if options.json:
            print(json.dumps({"would_run": False, "error": str(error)}))  # noqa: T201
        raise
    if options.json:
        print(json.dumps(asdict(plan), indent=2))  # noqa: T201
    else:
        print("\n".join(lines(plan)))  # noqa: T201
    return 0 if plan.would_run else 1


def make_plan(url: URL, target: str = "head") -> UpgradeReport:
    """Inspect a database, and return what an upgrade would do.

    Raises:
        CommandError: It cannot be read, or is at an unknown revision.
    """
    own = migrator.Settings(lock_timeout=LOCK_TIMEOUT, connect_wait=0)
    config = alembic_config()
    script = check_revisions(ScriptDirectory.from_config(config))
    try:
        with migrator.connect(url, own) as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            check_search_path(connection)
            at = MigrationContext.configure(connection).get_current_heads()
            revisions = pending(script, at, target, migrator.Settings.read({}, os.environ))
            tables, obstacles = inspect(
                connection,
                revisions,
                strongest_locks(lock for each in revisions for lock in each.tables.items()),
                [] if at else created_tables(config, revisions),
            )
    except DBAPIError as error:
        raise CommandError(f"The database cannot be read: {reason(error)}") from error
    if not revisions:
        obstacles = []
    return UpgradeReport(
        database=masked(url),
        at=at,
        to=target,
        would_run=all(obstacle.effect != Effect.BLOCKS for obstacle in obstacles),
        revisions=revisions,
        tables=tables,
        obstacles=obstacles,
    )


def lines(plan: UpgradeReport) -> Iterator[str]:
    """Yield a plan, line by line, for a terminal."""
    width = shutil.get_terminal_size((100, 24)).columns

    def wrapped(label: str, text: str, indent: int) -> str:
        return textwrap.fill(
            text,
            width,
            initial_indent=f"  {label:<{indent - 2}}",
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    yield f"{plan.database} is at {', '.join(plan.at) or 'base'}."
    if not plan.revisions:
        yield "Nothing would run."
        return
    for revision in plan.revisions:
        yield ""
        yield f"{revision.revision}  {revision.title}"
        for name, heading in HEADINGS.items():
            yield wrapped(f"{heading}:", getattr(revision, name) or "unknown", 13)
        yield wrapped("Waits:", _waits(revision), 13)
    if plan.tables:
        yield ""
        rows = [(table.name, table.lock, _size(table), _rows(table)) for table in plan.tables]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for name, lock, size, number in rows:
            yield (
                f"  {name:<{widths[0]}}  {lock:<{widths[1]}}  {size:>{widths[2]}}"
                f"  {number:>{widths[3]}}"
            )
    if plan.obstacles:
        yield ""
        for obstacle in plan.obstacles:
            where = f"{obstacle.table}: " if obstacle.table else ""
            yield wrapped(f"{obstacle.effect}:", where + obstacle.description, 13)
    yield ""
    yield "It would run." if plan.would_run else "It would not run now."


def _waits(revision: PendingRevision) -> str:
    if not revision.tables:
        return "for no table."
    each = f"{revision.lock_timeout / 1000:g} s each" if revision.lock_timeout else "no limit"
    waits = f"for its locks, {revision.attempts} times, {each}"
    if revision.outside_transactions:
        waits += (
            "; CONCURRENTLY, for the transactions that are open, without blocking queries"
            " meanwhile"
        )
    return f"{waits}."


def _size(table: LockedTable) -> str:
    if not table.exists:
        return "does not exist"
    if table.bytes is None:
        return "size unknown"
    # The unit in which it is less than 1024.
    power = min(max(table.bytes.bit_length() - 1, 0) // 10, 4)
    size, unit = table.bytes / 1024**power, ("B", "kB", "MB", "GB", "TB")[power]
    return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"


def _rows(table: LockedTable) -> str:
    if not table.exists:
        return ""
    return "rows unknown" if table.rows is None else f"about {table.rows:,} rows"
