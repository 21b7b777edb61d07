"""The statements of old code, through SQLAlchemy and asyncpg, on connections that stay open."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Delete,
    Executable,
    Select,
    UniqueConstraint,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from verification.old_code.tables import OldTable
from verification.old_code.values import FOREIGN_KEY_VIOLATION

STANDARD = sys.stdlib_module_names | {"builtins"}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a statement.

    Attributes:
        error: The SQLSTATE, or the driver's message.
        number: Number of rows returned or changed.
        remaining: Number of dependent rows that still exist.
        is_prepared: Whether the statements that it needs succeeded.
    """

    error: str | None = None
    rows: Sequence[tuple[Any, ...]] = ()
    number: int = 0
    remaining: int = 0
    is_prepared: bool = True


@dataclass
class StatementCase:
    """A statement of old code on a table.

    Attributes:
        name: Such as ``insert into users``.
        needed: Statements that must run before it, in its transaction.
        optional: Statements that add dependent rows, if they succeed.
        exact: Whether it has to return the values that it wrote.
        dependents: Count the dependent rows, which the statement may delete or change.
        parts: The same statement for each single column, by name.
    """

    name: str
    old: OldTable
    statement: Executable
    needed: list[Executable] = field(default_factory=list)
    optional: list[Executable] = field(default_factory=list)
    exact: bool = False
    dependents: list[Select[int]] = field(default_factory=list)
    parts: dict[str, Executable] = field(default_factory=dict)


def statement_cases(old: OldTable) -> Iterator[StatementCase]:
    """Yield the statements of code on a table."""
    table, base, spare = old.table, old.base, old.spare
    all_columns = list(table.columns)
    needed: list[Executable] = [parent.insert(parent.spare) for parent in old.parents()]
    if spare is base:
        needed = [delete(table).where(old.is_row(base))]
    for columns in (old.columns, old.required):
        yield StatementCase(
            f"insert into {old.name}",
            old,
            insert(table)
            .values({column.name: spare[column.name] for column in columns})
            .returning(*all_columns),
            needed,
            exact=columns == old.columns,
        )
    yield StatementCase(
        f"select {old.name}",
        old,
        select(*all_columns).where(old.is_row(base)),
        parts={c.name: select(c).where(old.is_row(base)) for c in all_columns},
    )
    changed = [column for column in old.columns if column not in old.key]
    if changed:
        yield StatementCase(
            f"update {old.name}",
            old,
            update(table)
            .values({c.name: base[c.name] for c in changed})
            .where(old.is_row(base))
            .returning(*all_columns),
            exact=True,
            parts={
                c.name: update(table)
                .values({c.name: base[c.name]})
                .where(old.is_row(base))
                .returning(c)
                for c in changed
            },
        )
    dependents = list(old.dependents(spare))
    yield StatementCase(
        f"delete from {old.name}",
        old,
        delete(table).where(old.is_row(spare)),
        [] if spare is base else [*needed, old.insert(spare)],
        [child.insert(row) for child, row in dependents],
        dependents=[select(func.count()).where(child.is_row(row)) for child, row in dependents],
    )
    for columns, where in unique_keys(old):
        statement = postgresql.insert(table).values({c.name: base[c.name] for c in old.columns})
        names = [column.name for column in columns]
        yield StatementCase(
            f"upsert into {old.name} by {' and '.join(names)}",
            old,
            statement.on_conflict_do_update(
                index_elements=names,
                index_where=where,
                set_={c.name: statement.excluded[c.name] for c in (changed or columns)},
            ).returning(*all_columns),
            exact=True,
        )


def unique_keys(old: OldTable) -> Iterator[tuple[list[Any], ColumnElement[bool] | None]]:
    """Yield the unique keys that ``ON CONFLICT`` can name, with their predicates."""
    names_seen = set()
    constraints = [each for each in old.table.constraints if isinstance(each, UniqueConstraint)]
    keys = [(each.columns, None) for each in (old.table.primary_key, *constraints)]
    keys += [
        (index.columns, index.dialect_options["postgresql"]["where"])
        for index in old.table.indexes
        if index.unique and len(index.columns) == len(index.expressions)
    ]
    for columns, where in keys:
        names = tuple(column.name for column in columns)
        if names and names not in names_seen:
            names_seen.add(names)
            yield list(columns), None if where is None else literal_column(str(where), Boolean)


async def attempt(
    connection: AsyncConnection, case: StatementCase, statement: Executable | None = None
) -> Outcome:
    """Run a statement as the ORM would, and roll it back."""
    transaction = await connection.begin()
    is_prepared = True
    try:
        for needed in case.needed:
            try:
                async with connection.begin_nested():
                    await connection.execute(needed)
            except DBAPIError:
                is_prepared = False
        if not is_prepared and not isinstance(case.statement, Delete):
            return Outcome(is_prepared=False)
        for optional in case.optional:
            with suppress(DBAPIError):
                async with connection.begin_nested():
                    await connection.execute(optional)
        result = await connection.execute(case.statement if statement is None else statement)
        rows = [tuple(row) for row in result] if result.returns_rows else []
        number = len(rows) if result.returns_rows else result.rowcount
        # A constraint may be deferred until the end of the transaction.
        if not isinstance(case.statement, Select):
            await connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        remaining = 0
        for count in case.dependents:
            with suppress(DBAPIError):  # A dropped table has no rows left.
                async with connection.begin_nested():
                    remaining += await connection.scalar(count) or 0
        return Outcome(None, rows, number, remaining, is_prepared)
    except Exception as error:  # Also SQLAlchemy's, for a value of another type.
        return Outcome(getattr(getattr(error, "orig", None), "sqlstate", None) or str(error))
    finally:
        await transaction.rollback()


def works(case: StatementCase, before: Outcome, after: Outcome) -> bool:
    """Return whether a statement does the same as before the revision."""
    if before.error is not None or not before.is_prepared:
        return True
    if not case.old.is_usable:
        return after.error in (None, FOREIGN_KEY_VIOLATION)
    if after.error is not None or not after.is_prepared:
        return after.error is None
    same_rows = (before.number, before.remaining) == (after.number, after.remaining)
    return same_rows and not other_values(case, before, after)


def other_values(case: StatementCase, before: Outcome, after: Outcome) -> set[str]:
    """Return the columns in which a statement returns values that its code cannot use."""
    return {
        column.name
        for row, row_after in zip(before.rows, after.rows, strict=False)
        for column, value, value_after in zip(case.old.table.columns, row, row_after, strict=True)
        if not is_compatible(column, value, value_after, case.exact)
    }


def part_works(case: StatementCase, column: str, after: Outcome) -> bool:
    """Return whether a part of a statement that worked still works."""
    if after.error is None and not case.old.is_usable:
        return True
    if after.error is not None or len(after.rows) != 1:
        return False
    ((value,),) = after.rows
    return is_compatible(case.old.table.columns[column], case.old.base[column], value, case.exact)


def _type(value: object) -> type:
    """Return the standard type of a value, which a driver may return a subclass of."""
    return next(base for base in type(value).__mro__ if base.__module__ in STANDARD)


def is_compatible(column: Column[Any], before: Any, after: Any, exact: bool) -> bool:
    """Return whether code that expects one value can use another."""
    if before is None or after is None:
        return not exact or before is after
    if _type(before) is not _type(after):
        return False
    if isinstance(before, datetime):
        # The database may set a time that it sets by default.
        exact = exact and not column.server_default
        if (before.tzinfo is None) != (after.tzinfo is None):
            return False
    if column.primary_key and isinstance(before, int):
        return bool(after >= before)  # A restarted sequence would conflict with existing rows.
    return bool(before == after) or not exact
