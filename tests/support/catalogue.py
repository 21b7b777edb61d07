"""What a PostgreSQL database consists of, as SQL, and how two databases differ.

``pg_dump`` prints nearly everything that PostgreSQL stores about a schema, in SQL that everyone
reads, and each release of PostgreSQL teaches it what is new. What it leaves out is looked up in
the catalogue itself (``NOT_DUMPED``).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import SequenceMatcher

import psycopg
from sqlalchemy import make_url

from tests.support.databases import program

HEADER = re.compile(
    r"^--\n-- Name: (?P<name>.+); Type: (?P<type>.+); Schema: (?P<schema>.+); "
    r"Owner: .*?(?:; Tablespace: (?P<tablespace>.+))?\n--\n",
    re.MULTILINE,
)
# Between objects: settings of the session that would restore the dump, and its end.
NOISE = re.compile(
    r"^SET default_(?:tablespace|table_access_method) = .*\n"
    r"|^\\unrestrict (?s:.*)"
    r"|^--\n-- PostgreSQL database dump complete\n(?s:.*)",
    re.MULTILINE,
)

NOT_DUMPED = r"""
SELECT format('TRIGGERS of CONSTRAINT %s', c.conname), string_agg(format(
    '%s ON %s: enabled %s, deferrable %s, initially deferred %s',
    t.tgfoid::regproc, t.tgrelid::regclass, t.tgenabled, t.tgdeferrable, t.tginitdeferred),
    E'\n' ORDER BY t.tgfoid::regproc::text, t.tgrelid::regclass::text)
FROM pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint
WHERE t.tgisinternal GROUP BY c.oid
UNION ALL
SELECT 'INDEX ' || i.indexrelid::regclass, format('ON %s: valid %s, ready %s, live %s',
    i.indrelid::regclass, i.indisvalid, i.indisready, i.indislive)
FROM pg_index i WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
UNION ALL
SELECT 'SEQUENCE ' || s.seqrelid::regclass, format('of an identity: AS %s', seqtypid::regtype)
FROM pg_sequence s JOIN pg_depend d ON d.classid = 'pg_class'::regclass
    AND d.objid = s.seqrelid AND d.deptype = 'i'
UNION ALL
SELECT 'EXTENSION ' || e.extname, concat_ws(E'\n', 'version ' || e.extversion,
    'configuration ' || e.extconfig::regclass[]::text, e.extcondition::text,
    obj_description(e.oid, 'pg_extension'), (
        SELECT string_agg(member, E'\n' ORDER BY member)
        FROM pg_depend d, pg_describe_object(d.classid, d.objid, d.objsubid) member
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'))
FROM pg_extension e
UNION ALL
SELECT 'MATERIALIZED VIEW ' || c.oid::regclass, 'never refreshed'
FROM pg_class c WHERE c.relkind = 'm' AND NOT c.relispopulated
UNION ALL
SELECT 'ACCESS METHOD of ' || c.oid::regclass, m.amname
FROM pg_class c JOIN pg_am m ON m.oid = c.relam
WHERE c.relkind IN ('r', 'm') AND m.amname <> 'heap'
UNION ALL
SELECT 'PARTITION ' || inhrelid::regclass, 'detach pending'
FROM pg_inherits WHERE inhdetachpending
UNION ALL
SELECT 'ACL of LANGUAGE ' || lanname, lanacl::text
FROM pg_language WHERE lanacl IS NOT NULL AND oid < 16384
UNION ALL
SELECT 'ACL of TYPE ' || oid::regtype, typacl::text
FROM pg_type WHERE typacl IS NOT NULL AND oid < 16384
UNION ALL
-- What is in the system's schemas is not dumped. 16384 is the first OID that is not the system's.
SELECT pg_describe_object(o.classid, o.oid, 0), 'in a schema of the system'
FROM (
    SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_class
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
) o (classid, oid, namespace)
WHERE o.oid >= 16384 AND o.namespace::regnamespace::text IN ('pg_catalog', 'information_schema')
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e')
"""

COLUMNS = """
SELECT format('TABLE %s.%s', n.nspname, c.relname), a.attname, a.attnum
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""

Columns = Mapping[str, Mapping[str, int]]
"""Columns of each table with their numbers. PostgreSQL never gives a number twice."""


@dataclass(frozen=True)
class Catalogue:
    """All objects of a database."""

    objects: Mapping[str, str]
    """SQL of each object, by type and name, such as ``TABLE public.users``."""
    columns: Columns


def snapshot(url: str) -> Catalogue:
    """Read what a database consists of."""
    objects = dict(_dumped(url))
    # A database may have settings of its own, such as a timeout.
    settings = "-c statement_timeout=0 -c search_path=public"
    with psycopg.connect(url, options=settings) as connection:
        for name, text in connection.execute(NOT_DUMPED):
            objects[f"{name} (not in the dump)"] = text
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() != (None,):
            rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")
            objects["ROWS of alembic_version"] = ", ".join(version for (version,) in rows)
        found: dict[str, dict[str, int]] = {}
        for table, column, number in connection.execute(COLUMNS):
            found.setdefault(table, {})[column] = number
    return Catalogue(objects, found)


def _dumped(url: str) -> Iterator[tuple[str, str]]:
    name = make_url(url).database or ""
    # --create: with the settings of the database itself.
    dump = program("pg_dump", url, "--schema-only", "--create", "--restrict-key=0")
    dump = dump.replace(name, "this_database")
    entries = list(HEADER.finditer(dump))
    ends = [entry.start() for entry in entries[1:]] + [len(dump)]
    seen: set[str] = set()
    for entry, end in zip(entries, ends, strict=True):
        parts = [entry["type"], entry["name"]]
        if entry["schema"] != "-":
            parts[1] = f"{entry['schema']}.{entry['name']}"
        key = " ".join(parts)
        while key in seen:
            key += " (another)"
        seen.add(key)
        text = NOISE.sub("", dump[entry.end() : end]).strip()
        if entry["tablespace"]:
            text += f"\n-- Tablespace: {entry['tablespace']}"
        yield key, text


def added(before: Columns, after: Columns) -> dict[str, set[str]]:
    """Tell the columns that a table got after it was there, by name and number."""
    return {
        table: {column for column, number in here.items() if before[table].get(column) != number}
        for table, here in after.items()
        if table in before
    }


def differences(
    left: Catalogue,
    right: Catalogue,
    sides: tuple[str, str],
    look_at: Callable[[str], str],
    unordered: Mapping[str, Set[str]],
) -> str:
    """Say what differs between two databases, object by object; nothing if they are the same.

    Args:
        left: One database.
        right: The other.
        sides: What to call the two.
        look_at: Tells the files in which to look for an object, given its SQL.
        unordered: Columns of tables whose place among the others does not count.
    """
    report = []
    for name in sorted(left.objects.keys() | right.objects.keys()):
        texts = [side.objects.get(name) for side in (left, right)]
        both = [_lines(name, text, unordered.get(name, set())) for text in texts]
        if both[0] == both[1]:
            continue
        report.append(f"{name}: look at {look_at(name + ' ' + (texts[0] or texts[1] or ''))}")
        if sorted(both[0]) == sorted(both[1]):
            report.append("  The order of the columns differs.")
        width = max(map(len, sides)) + 1
        for side, lines, other in zip(sides, _changed(*both), reversed(texts), strict=True):
            note = " (only here)" if other is None else ""
            report += [f"  {side + ':':{width}} {line}{note}" for line in lines or ["-"]]
    return "\n".join(report)


def _lines(name: str, text: str | None, unordered: Set[str]) -> list[str]:
    lines = (text or "").splitlines()
    if not name.startswith("TABLE "):
        return lines
    # A comma at the end depends on the next line, which may be the one that differs.
    lines = [line.removesuffix(",") for line in lines]

    def place(line: str) -> str:
        column = re.match(r' {4}"?(\w+)', line)
        return column[1] if column and column[1] in unordered else ""

    return sorted(lines, key=place)


def _changed(left: list[str], right: list[str]) -> tuple[list[str], list[str]]:
    blocks = [
        block
        for block in SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
        if block[0] != "equal"
    ]
    return (
        [line.strip() for _, start, end, _, _ in blocks for line in left[start:end] if line],
        [line.strip() for _, _, _, start, end in blocks for line in right[start:end] if line],
    )
