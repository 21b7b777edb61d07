"""The statements of old code, through SQLAlchemy and asyncpg, on connections that stay open."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
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


@dataclass(frozen=True)
class Outcome:
    """What became of a statement."""

    error: str | None = None
    rows: Sequence[tuple[Any, ...]] = ()
    number: int = 0
    """Rows that were found or changed."""
    left: Sequence[int] = ()
    """How many of the rows remain that might go together with one."""
    reached: bool = True
    """Whether the rows that it needs could be inserted."""


@dataclass
class Use:
    """One thing that old code does with a table."""

    name: str
    """Such as ``insert into users``."""
    old: OldTable
    statement: Executable
    needed: list[Executable] = field(default_factory=list)
    """What makes the statement possible, in its transaction."""
    wanted: list[Executable] = field(default_factory=list)
    """What gives it more to do, where that works."""
    exact: bool = False
    """Whether it returns the values that it wrote."""
    left: list[Select[int]] = field(default_factory=list)
    """Counts the rows that are affected by what it does to another."""
    parts: dict[str, Executable] = field(default_factory=dict)
    """The same for one column each, by name."""


def uses(old: OldTable) -> Iterator[Use]:
    """Derive what code does with a table."""
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
    """Go through the unique keys that ``ON CONFLICT`` can name, with their conditions."""
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
    try:
        for needed in use.needed:
            try:
                await connection.execute(needed)
            except DBAPIError:
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
        left = [await connection.scalar(count) or 0 for count in use.left]
        return Outcome(None, rows, number, left)
    except Exception as error:  # Also SQLAlchemy's, about a value of another type.
        return Outcome(str(error))
    finally:
        await transaction.rollback()


def works(use: Use, before: Outcome, after: Outcome) -> bool:
    """Say whether a statement does what it did before the revision."""
    if before.error is not None or not before.reached or not after.reached:
        return True
    if after.error is not None or (before.number, before.left) != (after.number, after.left):
        return False
    return all(
        alike(column, value, value_after, use.exact)
        for row, row_after in zip(before.rows, after.rows, strict=True)
        for column, value, value_after in zip(use.old.table.columns, row, row_after, strict=True)
    )


def alike(column: Column[Any], before: Any, after: Any, exact: bool) -> bool:
    """Say whether code that expects one value can use another."""
    if before is None or after is None:
        return not exact or before is after
    # The database may set the time itself where it did so by default.
    exact = exact and not (column.server_default and isinstance(after, datetime))
    return type(before) is type(after) and (before == after or not exact)
