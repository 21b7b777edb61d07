"""Generates rows from the columns and CHECKs of a database, beyond those written by hand.

They include the values that a type and its CHECKs allow and that are easily lost: the longest
text, text that differs only in case or in a trailing space, the extremes of a number and the
smallest step beside them, each literal in a CHECK or a revision, NULL, times around a change of
clocks. Each row varies the first row of the rows by hand in one column, so that all other columns
except keys have duplicates.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from graphlib import CycleError, TopologicalSorter
from itertools import count
from typing import Any

import psycopg
from psycopg import sql

from verification.project import Project

FIRST_KEY = 1001
"""Keys start above those of the rows by hand, so that a database can have both."""

# In the hours that a clock repeats in autumn and skips in spring, and around other boundaries.
MOMENTS = [
    *(datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)),  # Europe
    *(datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)),  # New York
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    datetime(2026, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
]
# Values for other types, such as UUID, bytea, inet and arrays. Each type accepts some of them.
OF_ANY_TYPE: list[Any] = [
    *("00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *("\\x", "\\xff00", "1 mon -1 day 00:00:00.000001", "23:59:59.999999", "00:00", "1"),
    *(
        "10.0.0.1",
        "2001:db8::1",
        "[1,2)",
        "[2026-01-01,2026-01-02)",
        "(1,2)",
        {"a": 1.10, "é": [None, "x"]},
    ),
    *([], ["a", None, ""], [1, None, 0], {}),
]
INTEGERS = {"int2": 15, "int4": 31, "int8": 63}
TEXT_LENGTH = 10_000
"""Characters of a long text in a column without a limit."""

COLUMNS = """
SELECT c.relname, a.attname, t.typname, a.atttypmod, a.attnotnull, a.attgenerated <> '',
    coalesce((SELECT array_agg(enumlabel::text) FROM pg_enum WHERE enumtypid = t.oid), '{}')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> %s
    AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""
KEYS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
GROUP BY c.relname, i.indexrelid ORDER BY count(*), i.indexrelid
"""
FOREIGN_KEYS = """
SELECT c.relname, p.relname, (
    SELECT array_agg(ARRAY[a.attname, b.attname]::text[])
    FROM unnest(k.conkey, k.confkey) AS pair (own, other)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = own
    JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = other)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class p ON p.oid = k.confrelid
WHERE k.contype = 'f' ORDER BY cardinality(k.conkey) DESC, k.conname
"""
CHECKS = """
SELECT c.relname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = 'c'
"""

# NOT NULL as a CHECK, and a unique index as a constraint: they are added only temporarily.
CONSTRAINTS = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('c', 'f', 'u') AND connamespace = 'public'::regnamespace
UNION
SELECT attrelid::regclass::text, format('CHECK (%I IS NOT NULL)', attname)
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE attnotnull AND attnum > 0 AND c.relkind = 'r' AND relnamespace = 'public'::regnamespace
UNION
SELECT i.indrelid::regclass::text, format('UNIQUE (%s)', (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE i.indisunique AND i.indpred IS NULL AND 0 <> ALL (i.indkey::int2[])
    AND c.relnamespace = 'public'::regnamespace
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
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            RETURN NEXT sqlerrm;
        END;
    END LOOP;
END $$
"""

Row = dict[str, Any]


class RowsError(Exception):
    """A table cannot be filled. The message names it, and says why."""


@dataclass(frozen=True)
class Column:
    """A column of a table, with its type."""

    name: str
    type: str
    modifier: int
    not_null: bool
    labels: Sequence[str]


@dataclass
class Table:
    """A table, with its references to others."""

    name: str
    columns: dict[str, Column]
    unique: set[str]
    """A column of each unique key, whose values must be distinct."""
    references: list[tuple[str, dict[str, str]]]
    """Referenced tables, with the referenced column of each referencing one."""
    checks: str = ""


@dataclass(frozen=True)
class Literals:
    """Literals in CHECKs and revisions."""

    texts: Sequence[str]
    numbers: Sequence[Decimal]


def literals(checks: str, *sources: str) -> Literals:
    """Return the strings in single quotes, and the numbers of the CHECKs."""
    texts = re.findall(r"'((?:[^'\n]|'')*)'", "\n".join([checks, *sources]))
    return Literals(
        sorted({text.replace("''", "'") for text in texts}),
        sorted({Decimal(number) for number in re.findall(r"\b\d+\.?\d*", checks)}),
    )


def checks(url: str) -> str:
    """Return the CHECKs of all tables."""
    with psycopg.connect(url) as connection:
        return "\n".join(check for _, check in connection.execute(CHECKS))


def fill(url: str, project: Project, *sources: str, like: str | None = None) -> None:
    """Insert rows into every table of a database.

    Args:
        url: The database.
        project: What has rows written by hand.
        sources: Code of revisions. Rows are generated for its literals and those of the CHECKs.
        like: Another database, whose types and constraints the rows fulfil as well.
    """
    with psycopg.connect(url, options="-c synchronous_commit=off") as connection:
        connection.execute(TRY_ROWS)
        columns: dict[tuple[str, str], Column] = {}
        added: list[tuple[str, str]] = []
        if like:
            with psycopg.connect(like) as other:
                added = _add_constraints(connection, other)
                columns = {
                    (t.name, c.name): c
                    for t in _tables(other, project)
                    for c in t.columns.values()
                }
        rows: dict[str, list[Row]] = {}
        for table in _tables(connection, project):
            # Values of the other database's type; those that this type rejects are skipped.
            for name, column in table.columns.items():
                table.columns[name] = columns.get((table.name, name), column)
            candidates = list(_variations(table, project, rows, literals(table.checks, *sources)))
            statement = "SELECT pg_temp.try_rows(%s, %s)"
            document = json.dumps(candidates, default=str)
            errors = [error for (error,) in connection.execute(statement, [table.name, document])]
            if all(errors):
                raise RowsError(f"{project.rows_file}: the first row of {table.name}: {errors[0]}")
            rows[table.name] = [
                row for row, error in zip(candidates, errors, strict=True) if not error
            ]
        for table_name, constraint in added:
            connection.execute(f"ALTER TABLE {table_name} DROP CONSTRAINT {constraint}")
        connection.execute("ANALYZE")  # before autovacuum does, at an unknown time


def _add_constraints(
    connection: psycopg.Connection[Any], other: psycopg.Connection[Any]
) -> list[tuple[str, str]]:
    """Add the constraints of another database, where they fit; return tables and names."""
    added = []
    existing = {tuple(row) for row in connection.execute(CONSTRAINTS)}
    for number, (table, definition) in enumerate(other.execute(CONSTRAINTS).fetchall()):
        if (table, definition) in existing:
            continue
        try:
            with connection.transaction():
                name = f"suitable_{number}"
                connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        except psycopg.Error:  # It refers to a column or table that this database lacks.
            continue
        added.append((table, name))
    return added


def grow(url: str, project: Project, originals: Mapping[str, Row], rows: int) -> None:
    """Add copies of one row to some tables, and to those that share their keys.

    Args:
        url: The database.
        project: Its project.
        originals: By table, values that identify the row to copy; none: any row.
        rows: How many copies to add.
    """
    with psycopg.connect(url, options="-c synchronous_commit=off") as connection:
        tables = {table.name: table for table in _tables(connection, project)}
        wanted = originals.keys() & tables.keys()
        for table in reversed(tables.values()):
            if table.name in wanted:
                wanted |= {o for o, pairs in table.references if pairs.keys() & table.unique}
        for table in tables.values():
            if table.name not in wanted:
                continue
            values = [
                sql.SQL("{} + n" if column.type in INTEGERS else "{} || '-' || n").format(
                    sql.Literal(FIRST_KEY * 100 if column.type in INTEGERS else "grown")
                )
                if column.name in table.unique
                else sql.Identifier(column.name)
                for column in table.columns.values()
            ]
            connection.execute(
                sql.SQL(
                    "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values}"
                    " FROM (SELECT * FROM {table} WHERE {is_original} LIMIT 1) AS one,"
                    " generate_series(1, {rows}) AS n"
                ).format(
                    is_original=sql.SQL(" AND ").join(
                        [
                            sql.SQL("true"),
                            *(
                                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
                                for name, value in originals.get(table.name, {}).items()
                            ),
                        ]
                    ),
                    table=sql.Identifier(table.name),
                    columns=sql.SQL(", ").join(map(sql.Identifier, table.columns)),
                    values=sql.SQL(", ").join(values),
                    rows=sql.Literal(rows),
                )
            )


def _tables(connection: psycopg.Connection[Any], project: Project) -> Iterator[Table]:
    """Yield the tables, each after those that it references."""
    tables: dict[str, Table] = {}
    for table, name, kind, modifier, not_null, generated, labels in connection.execute(
        COLUMNS, [project.version_table]
    ):
        entry = tables.setdefault(table, Table(table, {}, set(), []))
        if not generated:
            entry.columns[name] = Column(name, kind, modifier, not_null, labels)
    for table, names in connection.execute(KEYS):
        if table in tables and not tables[table].unique & set(names):
            tables[table].unique.add(names[0])
    for table, other, pairs in connection.execute(FOREIGN_KEYS):
        if table != other:
            tables[table].references.append((other, dict(pairs)))
    for table, check in connection.execute(CHECKS):
        tables[table].checks += check
    # Sorted, so that the order does not depend on the hashes of strings.
    references = {
        name: sorted({other for other, _ in tables[name].references}) for name in sorted(tables)
    }
    try:
        order = list(TopologicalSorter(references).static_order())
    except CycleError as error:
        raise RowsError(f"a cycle of foreign keys: {error.args[1]}") from None
    for name in order:
        yield tables[name]


def _variations(
    table: Table, project: Project, rows: Mapping[str, list[Row]], literals: Literals
) -> Iterator[Row]:
    """Yield rows that differ from the first in one column."""
    referring: dict[str, tuple[str, str]] = {}
    for other, pairs in table.references:
        for own, referenced in pairs.items():
            referring.setdefault(own, (other, referenced))
    numbers = count(FIRST_KEY)
    handwritten = [
        {name: value for name, value in row.items() if name in table.columns}
        for row in project.rows.get(table.name, [{}])
    ]
    free = [column for name, column in table.columns.items() if name not in referring]
    first = {
        column.name: next((v for v in _values(column, None, literals) if v is not None), None)
        for column in free
        if column.not_null and table.name not in project.rows
    } | handwritten[0]

    def complete(row: Row) -> Row | None:
        number = next(numbers)
        keys: Row = {}
        for name, (other, referenced) in referring.items():
            index = number - FIRST_KEY if name in table.unique else 0
            if index >= len(rows[other]):
                return None
            keys[name] = rows[other][index][referenced]
        for name in table.unique - keys.keys():
            column = table.columns[name]
            keys[name] = number if column.type in INTEGERS else f"row-{number}"
        return first | keys | row

    optional = [column.name for column in free if not column.not_null]
    others = [column.name for column in free if column.name not in table.unique]
    changes: list[Row] = [{}, {}, {}, dict.fromkeys(optional)]
    changes += [{name: row[name] for name in others if name in row} for row in handwritten[1:]]
    for column in free:
        if column.name in table.unique and column.type in INTEGERS:
            continue
        for value in _values(column, first.get(column.name), literals):
            # tests/rows.py may be inserted as well.
            if column.name in others or value not in [row.get(column.name) for row in handwritten]:
                changes.append({column.name: value})
    for name in referring.keys() - table.unique:
        if not table.columns[name].not_null:
            changes.append({name: None})
    for change in changes:
        row = complete(change)
        if row is not None:
            yield row


def _values(column: Column, typical: Any, literals: Literals) -> Iterator[Any]:
    """Yield candidate values of a column, without those that its type rejects."""
    if not column.not_null:
        yield None
    if column.type in ("varchar", "bpchar", "text"):
        longest = column.modifier - 4 if column.modifier >= 4 else TEXT_LENGTH
        yield from ("x" * longest, "x" * (longest - 1) + "y", "é" * longest)
        yield from ("", " ", "a", "A", "a ", "ß", "e\u0301", "\u00e9", "İ", "0", "NULL")
        if isinstance(typical, str):
            yield from (typical.upper(), typical.lower(), f"{typical} ")
        yield from (text for text in literals.texts if len(text) <= longest)
    elif column.type in INTEGERS:
        maximum = 2 ** INTEGERS[column.type] - 1
        steps = {int(number) + step for number in literals.numbers for step in (-1, 0, 1)}
        yield from sorted(
            {-maximum - 1, -1, 0, 1, 2, maximum, *(n for n in steps if abs(n) <= maximum)}
        )
    elif column.type == "numeric":
        scale = (column.modifier - 4) & 0x7FF if column.modifier >= 4 else 20
        digits = (column.modifier - 4) >> 16 if column.modifier >= 4 else 40
        step = Decimal((0, (1,), -scale))
        maximum = Decimal((0, (9,) * digits, -scale))
        near = {*literals.numbers, Decimal(0), Decimal("0.5"), Decimal("1.5"), Decimal("2.5")}
        if isinstance(typical, Decimal) and typical < maximum:
            near.add(typical)
        yield from (maximum, maximum.copy_negate(), step, step.copy_negate())
        with localcontext(Context(prec=100)):
            yield from sorted({value for number in near for value in (number, number + step)})
    elif column.type == "bool":
        yield from (True, False)
    elif column.type == "timestamptz":
        yield from MOMENTS
        yield from (moment + timedelta(microseconds=1) for moment in MOMENTS[:1])
    elif column.type == "timestamp":
        yield from (moment.replace(tzinfo=None) for moment in MOMENTS)
    elif column.type == "date":
        yield from (date(2024, 2, 29), date(2026, 12, 31), date(1970, 1, 1))
    elif column.type in ("float4", "float8"):
        yield from (0.1, -0.0, 1e300 if column.type == "float8" else 1e30, 1 / 3)
    else:
        yield from column.labels or OF_ANY_TYPE
