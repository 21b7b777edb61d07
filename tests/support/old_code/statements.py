"""The statements of old code, through SQLAlchemy and asyncpg, on connections that stay open."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Executable,
    Select,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.old_code.tables import OldTable
from tests.support.old_code.values import FOREIGN_KEY_VIOLATION


@dataclass(frozen=True)
class Outcome:
    """The outcome of a statement."""

    error: str | None = None
    """The SQLSTATE, or the driver's message."""
    rows: Sequence[tuple[Any, ...]] = ()
    number: int = 0
    """Number of rows found or changed."""
    left: int = 0
    """Number of remaining rows among those that may be deleted together with one."""
    reached: bool = True
    """Whether the rows that it needs could be inserted."""


@dataclass
class Use:
    """A statement of old code on a table."""

    name: str
    """Such as ``insert into users``."""
    old: OldTable
    statement: Executable
    needed: list[Executable] = field(default_factory=list)
    """Statements that are required before it, in its transaction."""
    wanted: list[Executable] = field(default_factory=list)
    """Statements that give it more rows to affect, if they succeed."""
    exact: bool = False
    """Whether it has to return the values that it wrote."""
    left: list[Select[int]] = field(default_factory=list)
    """Counts the dependent rows, which the statement may delete or change."""
    parts: dict[str, Executable] = field(default_factory=dict)
    """The same statement for each single column, by name."""


def uses(old: OldTable) -> Iterator[Use]:
    """Yield the statements of code on a table."""
    table, base, spare = old.table, old.base, old.spare
    everything = list(table.columns)
    needed: list[Executable] = [parent.insert(parent.spare) for parent in old.parents()]
    if spare is base:
        needed = [delete(table).where(old.is_row(base))]
    for columns in (old.columns, old.required):
        yield Use(
            f"insert into {old.name}",
            old,
            insert(table)
            .values({column.name: spare[column.name] for column in columns})
            .returning(*everything),
            needed,
            exact=columns == old.columns,
        )
    yield Use(
        f"select {old.name}",
        old,
        select(*everything).where(old.is_row(base)),
        parts={c.name: select(c).where(old.is_row(base)) for c in everything},
    )
    changed = [column for column in old.columns if column not in old.key]
    if changed:
        yield Use(
            f"update {old.name}",
            old,
            update(table)
            .values({c.name: base[c.name] for c in changed})
            .where(old.is_row(base))
            .returning(*everything),
            exact=True,
            parts={
                c.name: update(table)
                .values({c.name: base[c.name]})
                .where(old.is_row(base))
                .returning(c)
                for c in changed
            },
        )
    family = list(old.family(spare))
    yield Use(
        f"delete from {old.name}",
        old,
        delete(table).where(old.is_row(spare)),
        [] if spare is base else [*needed, old.insert(spare)],
        [child.insert(row) for child, row in family],
        left=[select(func.count()).where(child.is_row(row)) for child, row in family],
    )
    for columns, where in unique_keys(old):
        statement = postgresql.insert(table).values({c.name: base[c.name] for c in old.columns})
        names = [column.name for column in columns]
        yield Use(
            f"upsert into {old.name} by {' and '.join(names)}",
            old,
            statement.on_conflict_do_update(
                index_elements=names,
                index_where=where,
                set_={c.name: statement.excluded[c.name] for c in (changed or columns)},
            ).returning(*everything),
            exact=True,
        )


def unique_keys(old: OldTable) -> Iterator[tuple[list[Any], ColumnElement[bool] | None]]:
    """Yield the unique keys that ``ON CONFLICT`` can name, with their predicates."""
    seen = set()
    found = [(list(old.table.primary_key), None)]
    for constraint in old.table.constraints:
        if isinstance(constraint, UniqueConstraint):
            found.append((list(constraint.columns), None))
    for index in old.table.indexes:
        if index.unique and len(index.columns) == len(index.expressions):
            found.append((list(index.columns), index.dialect_options["postgresql"]["where"]))
    for columns, where in found:
        names = tuple(column.name for column in columns)
        if names and names not in seen:
            seen.add(names)
            yield columns, where


async def attempt(
    connection: AsyncConnection, use: Use, statement: Executable | None = None
) -> Outcome:
    """Run a statement as the ORM would, and undo it."""
    transaction = await connection.begin()
    reached = True
    try:
        for needed in use.needed:
            try:
                async with connection.begin_nested():
                    await connection.execute(needed)
            except DBAPIError:
                reached = False
        if not reached and not isinstance(use.statement, Delete):
            return Outcome(reached=False)
        for wanted in use.wanted:
            with suppress(DBAPIError):
                async with connection.begin_nested():
                    await connection.execute(wanted)
        result = await connection.execute(use.statement if statement is None else statement)
        rows = [tuple(row) for row in result] if result.returns_rows else []
        number = len(rows) if result.returns_rows else result.rowcount
        # A constraint may be deferred until the end of the transaction.
        await connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        left = 0
        for count in use.left:
            with suppress(DBAPIError):  # A dropped table has no rows left.
                async with connection.begin_nested():
                    left += await connection.scalar(count) or 0
        return Outcome(None, rows, number, left, reached)
    except Exception as error:  # Also SQLAlchemy's, for a value of another type.
        return Outcome(getattr(getattr(error, "orig", None), "sqlstate", None) or str(error))
    finally:
        await transaction.rollback()


def works(use: Use, before: Outcome, after: Outcome) -> bool:
    """Return whether a statement does the same as before the revision."""
    if before.error is not None or not before.reached:
        return True
    if not use.old.is_usable:
        return after.error in (None, FOREIGN_KEY_VIOLATION)
    if after.error is not None or not after.reached:
        return after.error is None
    same_rows = (before.number, before.left) == (after.number, after.left)
    return same_rows and not other_values(use, before, after)


def other_values(use: Use, before: Outcome, after: Outcome) -> set[str]:
    """Return the columns in which a statement returns values that its code cannot use."""
    return {
        column.name
        for row, row_after in zip(before.rows, after.rows, strict=False)
        for column, value, value_after in zip(use.old.table.columns, row, row_after, strict=True)
        if not alike(column, value, value_after, use.exact)
    }


def part_works(use: Use, column: str, after: Outcome) -> bool:
    """Return whether a part of a statement that worked still works."""
    if after.error is None and not use.old.is_usable:
        return True
    if after.error is not None or len(after.rows) != 1:
        return False
    ((value,),) = after.rows
    return alike(use.old.table.columns[column], use.old.base[column], value, use.exact)


def alike(column: Column[Any], before: Any, after: Any, exact: bool) -> bool:
    """Return whether code that expects one value can use another."""
    if before is None or after is None:
        return not exact or before is after
    if type(before) is not type(after):
        return False
    if isinstance(before, datetime):
        # The database may set a time that it sets by default.
        exact = exact and not column.server_default
        if (before.tzinfo is None) != (after.tzinfo is None):
            return False
    if column.primary_key and isinstance(before, int):
        return bool(after >= before)  # A restarted sequence would conflict with existing rows.
    return bool(before == after) or not exact
