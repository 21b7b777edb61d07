"""Fills the tables of a database with rows that its types and constraints allow.

Each row varies one row in one column, so that all other columns except keys have duplicates. That
row is the first that is written by hand for the table, or a generated one; foreign keys refer to
generated rows. Other rows combine the literals of a revision in the columns that it names, for its
conditions. For a revision that refuses them, there are plain rows: the same in every column that
is not text.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import count, cycle, islice, pairwise, product
from typing import Any

import psycopg
from alembic.script import Script
from psycopg import sql

from verification.project import Project
from verification.tables import TABLES
from verification.values import (
    FIRST_KEY,
    INTEGERS,
    Column,
    distinct,
    literals,
    of_literals,
    strings,
    values,
)

MOST_COMBINATIONS = 3_000
"""Combinations of values that are tried to fulfil the CHECKs of a table's first row."""

SPARE_KEYS = 10
PLAIN_ROWS = 20
MOST_NAMED = 500
"""Combinations of a revision's literals in a table."""
MOST_FILLED = 1_000
"""Rows that a table may have been filled with."""

COLUMNS = f"""
WITH RECURSIVE type(oid, base, modifier, not_null) AS (
    SELECT oid, oid, -1, false FROM pg_type WHERE typtype <> 'd'
    UNION ALL
    SELECT d.oid, base, greatest(typtypmod, modifier), not_null OR typnotnull
    FROM pg_type d JOIN type ON typbasetype = type.oid WHERE typtype = 'd'
)
SELECT t.name, a.attname, b.typname, b.typcategory = 'S', greatest(atttypmod, modifier),
    a.attnotnull OR not_null, coalesce(
        (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum
        WHERE enumtypid = b.oid), '{{}}'),
    coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k
        WHERE k.contype = 'c' AND (k.contypid = a.atttypid
            OR k.conrelid = t.oid AND a.attnum = ANY (k.conkey))), '')
FROM ({TABLES}) t JOIN pg_attribute a ON a.attrelid = t.oid
JOIN type ON type.oid = a.atttypid JOIN pg_type b ON b.oid = base
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY t.name, a.attnum
"""
# An index on an expression depends on the columns in it.
KEYS = f"""
SELECT t.name, array_agg(a.attname::text ORDER BY a.attnum)
FROM ({TABLES}) t JOIN pg_index i ON i.indrelid = t.oid
JOIN pg_attribute a ON a.attrelid = t.oid AND (
    a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
    OR 0 = ANY (i.indkey::int2[]) AND EXISTS (SELECT FROM pg_depend d
        WHERE d.objid = i.indexrelid AND d.refobjid = t.oid AND d.refobjsubid = a.attnum))
WHERE i.indisunique OR i.indisexclusion
GROUP BY t.name, i.indexrelid ORDER BY count(*), i.indexrelid
"""
FOREIGN_KEYS = f"""
SELECT t.name, quote_ident(k.conname), quote_ident(n.nspname), k.condeferrable, p.name, (
    SELECT array_agg(ARRAY[a.attname, b.attname]::text[] ORDER BY own)
    FROM unnest(k.conkey, k.confkey) AS pair (own, other)
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = own
    JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = other)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace
JOIN ({TABLES}) t ON t.oid = k.conrelid JOIN ({TABLES}) p ON p.oid = k.confrelid
WHERE k.contype = 'f' ORDER BY cardinality(k.conkey) DESC, k.conname
"""
CHECKS = f"""
SELECT t.name, pg_get_expr(k.conbin, k.conrelid), (SELECT array_agg(attname::text)
    FROM pg_attribute WHERE attrelid = t.oid AND attnum = ANY (k.conkey))
FROM pg_constraint k JOIN ({TABLES}) t ON t.oid = k.conrelid WHERE k.contype = 'c'
UNION ALL
SELECT t.name, pg_get_expr(c.relpartbound, c.oid), '{{}}'
FROM pg_inherits JOIN ({TABLES}) t ON t.oid = inhparent JOIN pg_class c ON c.oid = inhrelid
"""
# NOT NULL as a CHECK; unique indexes without a table, and from its name on.
CONSTRAINTS = f"""
SELECT t.name, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN ({TABLES}) t ON t.oid = k.conrelid WHERE contype IN ('c', 'f', 'u', 'x')
UNION
SELECT t.name, format('CHECK (%I IS NOT NULL)', attname)
FROM pg_attribute JOIN ({TABLES}) t ON t.oid = attrelid WHERE attnotnull AND attnum > 0
UNION
SELECT '', substring(pg_get_indexdef(indexrelid) FROM ' ON (?:ONLY )?(.*)')
FROM pg_index JOIN ({TABLES}) t ON t.oid = indrelid WHERE indisunique
"""
# Returns for each row, in order, why the table rejected it, or NULL.
TRY_ROWS = """
CREATE FUNCTION pg_temp.try_rows(name regclass, rows jsonb) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    candidate jsonb;
    names text;
    inserted integer;
BEGIN
    FOR candidate IN SELECT jsonb_array_elements(rows) LOOP
        SELECT string_agg(quote_ident(key), ', ') INTO names
            FROM jsonb_object_keys(candidate) AS key;
        BEGIN
            EXECUTE format(
                'INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s'
                ' FROM jsonb_populate_record(NULL::%1$s, $1) ON CONFLICT DO NOTHING', name, names)
            USING candidate;
            GET DIAGNOSTICS inserted = ROW_COUNT;
            RETURN NEXT CASE inserted WHEN 0 THEN 'The row exists already.' END;
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT sqlerrm;
        END;
    END LOOP;
END $$
"""
# Returns for each row, in order, whether the types of a table and a condition allow its values.
FITTING = """
CREATE FUNCTION pg_temp.fitting(name regclass, condition text, rows jsonb) RETURNS SETOF boolean
LANGUAGE plpgsql AS $$
DECLARE
    candidate jsonb;
    fits boolean;
BEGIN
    FOR candidate IN SELECT jsonb_array_elements(rows) LOOP
        BEGIN
            EXECUTE format('SELECT (%s) IS NOT FALSE FROM jsonb_populate_record(NULL::%s, $1)',
                condition, name) INTO fits USING candidate;
            RETURN NEXT fits;
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT false;
        END;
    END LOOP;
END $$
"""

Row = dict[str, Any]
Taken = tuple[str, str, str]
"""A table, a column of a key, and a value of it, as text."""
Session = psycopg.Connection[Any]


class RowsError(Exception):
    """A table cannot be filled, so that what a revision does to it is unknown."""


def refused(project: Project, script: Script, error: Exception) -> RowsError:
    """Return the error for a revision that runs on empty tables only."""
    return RowsError(
        f"{project.path(script)} fails on the rows that were generated, so that what it does is"
        f" unknown: {str(error).splitlines()[0]}. If it is right, the rows are not like the"
        f" application's. Give rows on which it works in {project.rows_file}, the first of each"
        " table."
    )


@dataclass
class Reference:
    """A foreign key. Names are as in SQL, except those of columns.

    Attributes:
        pairs: Referencing and referenced columns.
        is_late: Whether the referenced table is filled after this one.
    """

    name: str
    schema: str
    is_deferrable: bool
    table: str
    pairs: list[tuple[str, str]]
    is_late: bool = False


@dataclass
class Table:
    """A table, and the rows that it was filled with.

    Attributes:
        keys: The columns of each unique key.
        checks: Conditions and the columns in them; without columns: the bounds of partitions.
        first: The row that the others vary.
    """

    name: str
    columns: dict[str, Column] = field(default_factory=dict)
    keys: list[list[str]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    checks: list[tuple[str, set[str]]] = field(default_factory=list)
    first: Row = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def referring(self) -> set[str]:
        """The columns of foreign keys."""
        return {own for reference in self.references for own, _ in reference.pairs}

    def is_optional(self, reference: Reference) -> bool:
        """Return whether a foreign key may be NULL."""
        return not all(self.columns[own].not_null for own, _ in reference.pairs)

    def key_columns(self) -> tuple[list[str], list[Reference]]:
        """Return what makes rows distinct: columns, and otherwise references to distinct rows."""
        columns: list[str] = []
        references: list[Reference] = []
        for names in self.keys:
            own = [self.columns[n] for n in names if n in self.columns and n not in self.referring]
            many = [c for c in own if c.type != "bool" and not c.labels]
            if {*names} & {*columns}:
                continue
            # A text may have a meaning, such as a month.
            columns += [c.name for c in sorted(many, key=lambda c: c.is_text)][:1]
            if not many:
                references += [
                    r
                    for r in self.references
                    if {*names} & {own for own, _ in r.pairs}
                    and r not in references
                    and not r.is_late
                ]
        return columns, references


@dataclass(frozen=True)
class Nearby:
    """What the rows of a database have to do with the revisions before and after it.

    Attributes:
        strings: Rows are generated for these literals.
        taken: No row has a key of a row that a revision inserts.
        sources: Their code: the columns that it names are varied together.
    """

    strings: frozenset[str] = frozenset()
    taken: frozenset[Taken] = frozenset()
    sources: frozenset[str] = frozenset()

    def __or__(self, other: "Nearby") -> "Nearby":
        """Return both."""
        return Nearby(
            self.strings | other.strings, self.taken | other.taken, self.sources | other.sources
        )


def nearby(url: str, source: str) -> Nearby:
    """Return what rows have to do with a revision: its database without rows, and its code."""
    with psycopg.connect(url) as connection:
        tables = read_tables(connection)
        checks = (check for table in tables.values() for check, _ in table.checks)
        return Nearby(
            frozenset(strings("\n".join([source, *checks]))),
            frozenset(_existing_keys(connection, tables)),
            frozenset([source]),
        )


def fill(
    url: str,
    project: Project,
    near: Nearby = Nearby(),
    like: str | None = None,
    *,
    plain: bool = False,
) -> None:
    """Insert rows into every table of a database.

    Args:
        url: The database.
        project: What has rows written by hand.
        near: What they have to do with revisions.
        like: Another database, whose types and constraints the rows fulfil as well.
        plain: Insert only copies of the first row, one for each row that it refers to, without
            NULLs: for a revision that calculates with values, or looks them up.

    Raises:
        RowsError: A table cannot be filled. The message names it, and says why.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url))
        connection.execute(TRY_ROWS)
        connection.execute(FITTING)
        other = stack.enter_context(psycopg.connect(like)) if like else None
        undo = _add_constraints(connection, other) if other else []
        tables = _read_tables_like(connection, other)
        undo += _defer_late_references(connection, tables)
        fillers = [
            _Filler(connection, project, table, tables, near, plain=plain)
            for table in tables.values()
        ]
        for filler in fillers:
            filler.fill()
        for filler in fillers:
            filler.refer_to_late_rows()
        for statement in ("SET CONSTRAINTS ALL IMMEDIATE", *undo):
            connection.execute(statement)
        connection.execute("ANALYZE")  # before autovacuum does, at an unknown time


def grow(url: str, originals: Mapping[str, Row], rows: int, like: str | None = None) -> None:
    """Add copies of a row to some tables, and to those that make theirs distinct.

    There are fewer if there are not so many keys.

    Args:
        url: The database.
        originals: By table, values that identify the row to copy; none: any row.
        rows: How many copies to add, at least.
        like: Another database, whose types the keys suit as well.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url))
        other = stack.enter_context(psycopg.connect(like)) if like else None
        tables, tables_like = read_tables(connection), _read_tables_like(connection, other)
        wanted = {*originals}
        for table in reversed(tables.values()):
            if table.name in wanted:
                wanted |= {reference.table for reference in table.key_columns()[1]}
        number = rows + MOST_FILLED
        numbers = range(FIRST_KEY, FIRST_KEY + number)
        for table in tables.values():
            if table.name in wanted:
                columns, references = table.key_columns()
                # A text may have to be of another type, such as a date.
                keyed = [
                    (tables_like if column.is_text else tables)[table.name].columns[column.name]
                    for column in map(table.columns.__getitem__, columns)
                ]
                keys = {
                    column.name: [str(v) for v in islice(distinct(column, numbers), number)]
                    for column in keyed
                }
                for reference in references:
                    names = ", ".join(f'"{name}"::text' for _, name in reference.pairs)
                    others = f"SELECT {names} FROM {reference.table} LIMIT {number}"
                    referred = zip(*connection.execute(others), strict=True)
                    own = (name for name, _ in reference.pairs)
                    keys |= zip(own, map(list, referred), strict=True)
                _insert_copies(connection, table, originals.get(table.name, {}), keys, number)


def _insert_copies(
    connection: Session,
    table: Table,
    original: Row,
    keys: Mapping[str, Sequence[str]],
    rows: int,
) -> None:
    """Insert copies of a row with other keys."""
    late = {own for r in table.references if r.is_late for own, _ in r.pairs}
    copied = [
        # A CHECK may demand NULL.
        sql.SQL("CASE WHEN {} IS NOT NULL THEN CAST({} AS {}) END").format(
            sql.Identifier("one", name), sql.Identifier("key", name), sql.Identifier(column.type)
        )
        if name in keys
        else sql.SQL("NULL" if name in late and not column.not_null else "{}").format(
            sql.Identifier("one", name)
        )
        for name, column in table.columns.items()
    ]
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {copied}"
        " FROM (SELECT * FROM {table} WHERE {is_original} LIMIT 1) AS one,"
        " unnest({arrays}) AS key ({keys}) ON CONFLICT DO NOTHING"
    ).format(
        table=sql.SQL(table.name),
        columns=sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        copied=sql.SQL(", ").join(copied),
        is_original=sql.SQL(" AND ").join(
            [
                sql.SQL("true"),
                *(sql.SQL("{} = {}").format(sql.Identifier(n), v) for n, v in original.items()),
            ]
        ),
        arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * (len(keys) + 1)),
        keys=sql.SQL(", ").join(map(sql.Identifier, [*keys, "(number)"])),
    )
    number = min([rows, *map(len, keys.values())])
    numbers = [str(n) for n in range(number)]  # for a table without keys
    connection.execute(statement, [*(values[:number] for values in keys.values()), numbers])


def _add_constraints(connection: Session, other: Session) -> list[str]:
    """Add the constraints of another database, where they fit; return how to drop them."""
    undo = []
    missing = {*other.execute(CONSTRAINTS)} - {*connection.execute(CONSTRAINTS)}
    for number, (table, definition) in enumerate(sorted(missing)):
        name = f"suitable_{number}"
        add = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        if not table:
            schema = definition.partition(" ")[0].rpartition(".")[0] or "public"
            add, drop = (
                f"CREATE UNIQUE INDEX {name} ON {definition}",
                f"DROP INDEX {schema}.{name}",
            )
        # An error: it refers to a column or table that this database lacks.
        with suppress(psycopg.Error), connection.transaction():
            connection.execute(add)
            undo.append(drop)
    return undo


def read_tables(connection: Session) -> dict[str, Table]:
    """Return the tables by name, each after those that it references.

    In a cycle, one reference is late: if possible, one that may be NULL.
    """
    tables: dict[str, Table] = {}
    for name, *column in connection.execute(COLUMNS):
        table = tables.setdefault(name, Table(name))
        table.columns[column[0]] = Column(*column)
    for name, columns in connection.execute(KEYS):
        tables[name].keys.append(columns)
    for name, *reference in connection.execute(FOREIGN_KEYS):
        tables[name].references.append(Reference(*reference))
    for name, check, columns in connection.execute(CHECKS):
        tables[name].checks.append((check, {*columns}))
    while True:
        # Sorted, so that the order does not depend on the hashes of strings.
        graph = {
            name: sorted({r.table for r in tables[name].references if not r.is_late} - {name})
            for name in sorted(tables)
        }
        try:
            return {name: tables[name] for name in TopologicalSorter(graph).static_order()}
        except CycleError as error:
            in_cycle = [
                (tables[name], reference)
                for other, name in pairwise(error.args[1])
                for reference in tables[name].references
                if reference.table == other and not reference.is_late
            ]
        _, late = min(in_cycle, key=lambda pair: not pair[0].is_optional(pair[1]))
        late.is_late = True


def _read_tables_like(connection: Session, other: Session | None) -> dict[str, Table]:
    """Return the tables, with the types that columns have in another database."""
    tables = read_tables(connection)
    for name, table in read_tables(other).items() if other else ():
        if own := tables.get(name):
            # Values that the column's own type rejects are skipped.
            own.columns |= {
                column.name: replace(column, checks=own.columns[column.name].checks)
                for column in table.columns.values()
                if column.name in own.columns
            }
    return tables


def _defer_late_references(connection: Session, tables: Mapping[str, Table]) -> list[str]:
    """Let PostgreSQL check at the end what may not be NULL; return how to undo that."""
    undo = []
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in tables.values():
        for late in table.references:
            if late.is_late and not table.is_optional(late):
                if not late.is_deferrable:
                    alter = f"ALTER TABLE {table.name} ALTER CONSTRAINT {late.name}"
                    connection.execute(f"{alter} DEFERRABLE")
                    undo.append(f"{alter} NOT DEFERRABLE")
                connection.execute(f"SET CONSTRAINTS {late.schema}.{late.name} DEFERRED")
    return undo


def _existing_keys(connection: Session, tables: Mapping[str, Table]) -> Iterator[Taken]:
    """Yield the values in the key columns of a database, as text."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, {}, {}::text FROM {}").format(
            table.name, name, sql.Identifier(name), sql.SQL(table.name)
        )
        for table in tables.values()
        for name in table.key_columns()[0]
    )
    if query.as_string():
        yield from connection.execute(query)


class _Filler:
    """Generates the rows of a table, and inserts them."""

    def __init__(
        self,
        connection: Session,
        project: Project,
        table: Table,
        tables: Mapping[str, Table],
        near: Nearby,
        *,
        plain: bool,
    ) -> None:
        self._connection, self._project, self._plain = connection, project, plain
        self._table, self._tables, self._sources = table, tables, sorted(near.sources)
        self._literals = literals(" ".join(check for check, _ in table.checks), near.strings)
        self._written = [
            {name: value for name, value in row.items() if name in table.columns}
            for row in project.rows.get(table.name, ())
        ]
        self._taken = {(column, text) for name, column, text in near.taken if name == table.name}
        self._taken |= {(name, str(value)) for row in self._written for name, value in row.items()}
        self._key_columns, self._distinct_parents = table.key_columns()
        self._free = [c for name, c in table.columns.items() if name not in table.referring]
        self._groups = self._read_groups()
        self._numbers = count()
        self._parents: Iterator[tuple[Row | None, ...]] = iter(())
        self._base = self._first_row()
        # References that the CHECKs do not allow in this row.
        checked = set().union(*(names for _, names in table.checks)) & table.referring
        self._absent = {n: None for n in checked if self._base.get(n, ...) is None}
        table.first = self._base
        self._changes = [*self._all_changes()]
        number = len(self._changes) + SPARE_KEYS
        self._keys = {name: self._distinct_values(name, number) for name in self._key_columns}
        table.first = self._base | {name: keys[0] for name, keys in self._keys.items() if keys}

    def fill(self) -> None:
        """Insert the rows.

        Raises:
            RowsError: The table refuses them all.
        """
        parents = [self._tables[reference.table].rows for reference in self._distinct_parents]
        self._parents = (
            zip(*map(cycle, parents), strict=False) if self._plain else cycle(product(*parents))
        )
        errors = self._insert(self._changes)
        if errors[0] and self._table.rows:
            # Vary what the table accepts instead, such as a time for which it has a partition.
            names = {column.name for column in self._free}
            self._base |= {n: v for n, v in self._table.rows[0].items() if n in names}
            self._insert(self._changes)
        if not self._table.rows:
            raise RowsError(
                f"{self._table.name} cannot be filled, so that what a revision does to it is"
                f" unknown: {errors[0]}. Give rows of it in {self._project.rows_file}, the first"
                " of which is varied."
            )

    def refer_to_late_rows(self) -> None:
        """Insert rows that refer to this table, or to one that was filled later."""
        for reference in self._table.references:
            is_later = reference.is_late or reference.table == self._table.name
            if is_later and self._table.is_optional(reference):
                self._insert(
                    {own: row[other] for own, other in reference.pairs}
                    for row in self._tables[reference.table].rows[:3]
                )

    def _insert(self, changes: Iterable[Row]) -> list[str | None]:
        """Insert rows with changes; return why each was refused."""
        rows = [row for change in changes if (row := self._row(change))]
        result = self._connection.execute(
            "SELECT pg_temp.try_rows(%s, %s)", [self._table.name, json.dumps(rows, default=str)]
        )
        errors = [error for (error,) in result]
        self._table.rows += [r for r, error in zip(rows, errors, strict=True) if not error]
        return errors

    def _row(self, change: Row) -> Row | None:
        """Return the next row, with other keys than all before, if there are any."""
        number = next(self._numbers)
        if any(number >= len(keys) for keys in self._keys.values()):
            return None
        row = self._base | {name: keys[number] for name, keys in self._keys.items()}
        chosen = dict(
            zip([r.name for r in self._distinct_parents], next(self._parents, ()), strict=False)
        )
        referring: Row = {}
        for reference in self._table.references:
            other = self._tables[reference.table]
            optional = self._table.is_optional(reference)
            if other is self._table:
                parent = None if optional else row
            elif reference.is_late:
                parent = None if optional else other.first
            else:
                usual = other.rows[number % len(other.rows) if self._plain else 0]
                parent = chosen.get(reference.name, usual)
            if parent:
                referring = {own: parent[name] for own, name in reference.pairs} | referring
        return row | dict.fromkeys(self._table.referring) | referring | self._absent | change

    def _first_row(self) -> Row:
        """Return values of the columns without keys that fulfil the CHECKs, if they are found."""
        row = dict(self._written[0]) if self._written else {}
        for group in self._groups:
            given = {name: row[name] for name in group & row.keys()}
            row |= self._completed(group, given, lambda column: self._values(column, None))
        return row

    def _read_groups(self) -> list[set[str]]:
        """Return the columns without keys: alone, or with those of the same CHECKs."""
        groups: list[set[str]] = []
        checked = [names for _, names in self._table.checks if names]
        for names in [{column.name} for column in self._free] + checked:
            overlapping = [group for group in groups if group & names]
            groups = [group for group in groups if group not in overlapping]
            groups.append(names.union(*overlapping))
        return groups

    def _completed(
        self, group: set[str], given: Row, candidates: Callable[[Column], list[Any]]
    ) -> Row:
        """Return values of a group of columns that fulfil its CHECKs, else those given."""
        choices = {
            column.name: candidates(column)
            for column in self._table.columns.values()
            if column.name in group - given.keys() and column.name not in self._key_columns
        }
        chosen = islice(product(*choices.values()), MOST_COMBINATIONS)
        rows = (given | dict(zip(choices, values, strict=True)) for values in chosen)
        return next(self._fitting(group, rows), given) if choices else given

    def _values(self, column: Column, typical: Any) -> list[Any]:
        """Return candidate values of a column: NULL is the last."""
        candidates: Iterable[Any] = values(column, typical, self._literals)
        if column.name in self._table.referring:
            candidates = [
                self._tables[reference.table].first[other]
                for reference in self._table.references
                for own, other in reference.pairs
                if own == column.name and other in self._tables[reference.table].first
            ]
        return [*candidates, *([] if column.not_null else [None])]

    def _fitting(self, names: set[str], rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows that types allow, and the CHECKs of only these columns."""
        conditions = [f"({check})" for check, used in self._table.checks if used and used <= names]
        rows, size = iter(rows), 1  # often, the first one fits
        while some := [*islice(rows, size)]:
            size = 25
            fits = self._connection.execute(
                "SELECT pg_temp.fitting(%s, %s, %s)",
                [
                    self._table.name,
                    " AND ".join(conditions) or "true",
                    json.dumps(some, default=str),
                ],
            )
            yield from (row for row, (fit,) in zip(some, fits, strict=True) if fit)

    def _distinct_values(self, name: str, number: int) -> list[Any]:
        """Return different values of a column, if there are as many."""
        column = self._table.columns[name]
        candidates = distinct(column, range(FIRST_KEY, FIRST_KEY + number))
        rows = [{name: v} for v in candidates if (name, str(v)) not in self._taken]
        fitting = self._fitting({name}, rows) if column.checks else iter(rows)
        return [row[name] for row in islice(fitting, number)]

    def _all_changes(self) -> Iterator[Row]:
        """Yield the changes of the first row: none, all that may be NULL, each value in turn."""
        if self._plain:
            given = {*self._key_columns}.union(*self._written[:1])
            # These may have any value, and a revision may make a unique key of them.
            texts = {
                column.name: self._distinct_values(column.name, PLAIN_ROWS)
                for column in self._free
                if column.is_text and column.name not in given and {column.name} in self._groups
            }
            for n in range(PLAIN_ROWS):
                yield {name: values[n] for name, values in texts.items() if n < len(values)}
            yield from self._named_changes()
            return
        yield from ({}, {}, {}, dict.fromkeys(c.name for c in self._free if not c.not_null))
        others = {column.name for column in self._free}.difference(self._key_columns)
        for row in self._written[1:]:
            yield {name: value for name, value in row.items() if name in others}
        for column in self._free:
            for value in self._values(column, self._base.get(column.name)):
                if column.name in others or not (
                    column.type in INTEGERS or (column.name, str(value)) in self._taken
                ):
                    yield self._with_fitting({column.name: value})
        for reference in self._table.references:
            if self._table.is_optional(reference):
                yield {n: None for n, _ in reference.pairs if not self._table.columns[n].not_null}
        yield from self._named_changes()

    def _named_changes(self) -> Iterator[Row]:
        """Yield combinations of literals in the columns that a revision names with the table.

        A condition such as ``status = 'new' AND sent_at IS NULL`` compares several columns.
        """
        given = {*self._written[0]} if self._plain and self._written else set()
        for source in self._sources:
            words, texts = {*re.findall(r"\w+", source)}, strings(source)
            if self._table.name.rpartition(".")[2].strip('"') not in words:
                continue
            choices = {
                name: [
                    ...,
                    *([] if column.not_null or self._plain else [None]),
                    *of_literals(column, texts),
                ]
                for name, column in self._table.columns.items()
                if name in words and name not in self._key_columns and name not in given
            }
            for chosen in islice(product(*choices.values()), 1, MOST_NAMED):
                named = dict(zip(choices, chosen, strict=True))
                yield {name: value for name, value in named.items() if value is not ...}

    def _with_fitting(self, change: Row) -> Row:
        """Return a change with that of other columns of the same CHECKs, if it needs them."""
        return self._completed(
            next(group for group in self._groups if group & change.keys()),
            change,
            lambda column: [self._base.get(column.name), *self._values(column, None)[-2:]],
        )
