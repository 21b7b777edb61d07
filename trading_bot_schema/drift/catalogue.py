"""Reads the objects of a PostgreSQL database as SQL, and compares two databases.

``pg_dump`` prints nearly everything that PostgreSQL stores about a schema, as SQL, and each
release of PostgreSQL extends it for new features. What it omits is read from the system catalogs
(``NOT_DUMPED``).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from alembic.util import CommandError
from sqlalchemy import URL, Connection, Row, func, make_url, select, text
from sqlalchemy.exc import DBAPIError

from trading_bot_schema import migrator
from trading_bot_schema.drift import pg_dump
from trading_bot_schema.migrator.errors import BYPASS_ROW_SECURITY, ROW_SECURITY, sqlstate
from trading_bot_schema.url import SCHEMA

HEADER = re.compile(
    r"^--\n-- Name: (?P<name>.+); Type: (?P<type>.+); Schema: (?P<schema>.+); "
    r"Owner: .*?(?:; Tablespace: (?P<tablespace>.+))?\n--\n",
    re.MULTILINE,
)
# Between objects: settings of the session that would restore the dump, and its end. Within them:
# the version of a column, which PostgreSQL 15.20 stores in its options, and older programs print.
NOISE = re.compile(
    r"^ALTER TABLE .+ ALTER COLUMN .+ SET \(pg_attver=\d+\);\n*"
    r"|pg_attver=\d+, |, pg_attver=\d+"
    r"|^SET default_(?:tablespace|table_access_method) = .*\n"
    r"|^\\(?:unrestrict|connect) (?s:.*)"
    r"|^--\n-- PostgreSQL database dump complete\n(?s:.*)",
    re.MULTILINE,
)

DATABASE_NAME = re.compile(r'\b(DATABASE )(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)')

NOT_DUMPED = r"""
-- The members of extensions, and what comes with one, such as the type of a table's rows.
WITH RECURSIVE of_extensions AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
    UNION
    SELECT d.classid, d.objid FROM pg_depend d JOIN of_extensions o
        ON d.refclassid = o.classid AND d.refobjid = o.objid AND d.deptype IN ('a', 'i')
)
SELECT format('TRIGGERS of CONSTRAINT %s of %s', c.conname, c.conrelid::regclass),
    string_agg(format(
    '%s %s ON %s: enabled %s, deferrable %s, initially deferred %s',
    regexp_replace(t.tgname, '[0-9]+$', ''), t.tgfoid::regproc, t.tgrelid::regclass,
    t.tgenabled, t.tgdeferrable, t.tginitdeferred),
    E'\n' ORDER BY t.tgfoid::regproc::text, t.tgrelid::regclass::text)
FROM pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint
-- Citus hides the shards of its tables in pg_class only.
JOIN pg_class r ON r.oid = c.conrelid
WHERE t.tgisinternal
    AND ('pg_class'::regclass, r.oid) NOT IN (SELECT classid, objid FROM of_extensions)
GROUP BY c.oid
UNION ALL
SELECT 'INDEX ' || i.indexrelid::regclass, format(
    'ON %s: valid %s, ready %s, live %s, immediate %s',
    i.indrelid::regclass, i.indisvalid, i.indisready, i.indislive, i.indimmediate)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive
    AND (i.indimmediate OR coalesce(c.condeferrable, false)))
UNION ALL
-- Stored twice, so that a direct change of the system catalogs can make the two differ.
SELECT format('NOT NULL of %s.%s', a.attrelid::regclass, a.attname), 'is not enforced'
FROM pg_attribute a JOIN pg_constraint c ON c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey)
WHERE c.contype = 'n' AND NOT a.attnotnull
UNION ALL
SELECT 'TRIGGERS of ' || c.oid::regclass, 'do not fire'
FROM pg_class c WHERE NOT c.relhastriggers AND c.oid IN (SELECT tgrelid FROM pg_trigger)
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
-- 16384 is the first OID that is not the system's, and 10 the role that initdb creates.
SELECT 'LANGUAGE ' || lanname, concat_ws(E'\n',
    'owner ' || CASE WHEN lanowner <> 10 THEN lanowner::regrole END,
    'privileges ' || lanacl::text, 'trusted ' || lanpltrusted, obj_description(oid, 'pg_language'))
FROM pg_language WHERE oid < 16384
UNION ALL
SELECT 'OWNER of EXTENSION ' || extname, extowner::regrole::text
FROM pg_extension WHERE oid < 16384 AND extowner <> 10
UNION ALL
-- The types of a table's rows, and arrays of a type, come with it.
SELECT 'TYPE ' || t.oid::regtype,
    concat_ws(E'\n', 'privileges ' || t.typacl::text, obj_description(t.oid, 'pg_type'))
FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE CASE WHEN t.oid < 16384 THEN t.typacl IS NOT NULL
    ELSE (c.relkind <> 'c' OR t.typcategory = 'A')
        AND (t.typacl IS NOT NULL OR obj_description(t.oid, 'pg_type') IS NOT NULL) END
UNION ALL
SELECT format('COMMENT on TRIGGERS of CONSTRAINT %s of %s', c.conname, c.conrelid::regclass),
    string_agg(obj_description(t.oid, 'pg_trigger'), E'\n')
FROM pg_trigger t JOIN pg_constraint c ON c.oid = t.tgconstraint
WHERE t.tgisinternal AND obj_description(t.oid, 'pg_trigger') IS NOT NULL GROUP BY c.oid
UNION ALL
SELECT 'SCHEMA information_schema', concat_ws(E'\n', count(c.oid) || ' relations',
    'owner ' || CASE WHEN n.nspowner <> 10 THEN n.nspowner::regrole END,
    'privileges ' || CASE WHEN n.nspacl IS DISTINCT FROM i.initprivs THEN n.nspacl::text END)
FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.oid < 16384
LEFT JOIN pg_init_privs i ON i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid
WHERE n.nspname = 'information_schema' GROUP BY n.oid, i.initprivs
UNION ALL
SELECT 'ACL of ' || c.oid::regclass, c.relacl::text
FROM pg_class c
LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid
    AND i.objsubid = 0
WHERE c.relnamespace::regnamespace::text = 'information_schema' AND c.oid < 16384
    AND c.relacl IS DISTINCT FROM i.initprivs
UNION ALL
SELECT 'TEXT SEARCH of PostgreSQL', format('%s configurations, %s dictionaries',
    (SELECT count(*) FROM pg_ts_config WHERE oid < 16384),
    (SELECT count(*) FROM pg_ts_dict WHERE oid < 16384))
UNION ALL
SELECT 'SUBSCRIPTION ' || subname, format('enabled %s, publications %s', subenabled,
    subpublications)
FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
UNION ALL
SELECT 'REPLICATION SLOT ' || slot_name, format('of %s', plugin)
FROM pg_replication_slots WHERE database = current_database() AND NOT temporary
UNION ALL
-- Objects in the schemas of the system are not dumped.
SELECT pg_describe_object(o.classid, o.oid, 0), 'in a schema of the system'
FROM (
    SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_class
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
) o (classid, oid, namespace)
WHERE o.oid >= 16384 AND o.namespace::regnamespace::text IN ('pg_catalog', 'information_schema')
    AND (o.classid, o.oid) NOT IN (SELECT classid, objid FROM of_extensions)
"""

COLUMNS = """
SELECT format('TABLE %s.%s', n.nspname, c.relname), a.attname, a.attnum
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""

# pg_dump locks each table that it reads, in ACCESS SHARE mode.
UNREADABLE = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
ORDER BY 1, 2
"""

# The role that migrates (the owner of alembic_version, else of the database); whether the owner of
# the database may create roles, which docs/roles.sql needs; and the roles, quoted, that have the
# default privileges on the owner's tables of docs/roles.sql.
ROLES = """
SELECT owner.rolname AS owner, owner.rolsuper AS owner_is_superuser,
    dba.rolsuper OR dba.rolcreaterole AS administrator_owns_database,
    coalesce((
        SELECT array_agg(grantee::regrole::text ORDER BY 1) FROM (
            SELECT a.grantee FROM pg_default_acl d, aclexplode(d.defaclacl) a
            WHERE d.defaclrole = owner.oid AND d.defaclobjtype = 'r'
                AND d.defaclnamespace = 'public'::regnamespace
                AND a.grantee NOT IN (0, owner.oid)
            GROUP BY a.grantee
            HAVING array_agg(a.privilege_type ORDER BY a.privilege_type)
                = '{DELETE,INSERT,SELECT,UPDATE}' AND NOT bool_or(a.is_grantable)) grantees
    ), '{}') AS applications
FROM pg_database b JOIN pg_roles dba ON dba.oid = b.datdba
LEFT JOIN pg_class v ON v.oid = to_regclass('public.alembic_version')
JOIN pg_roles owner ON owner.oid = coalesce(v.relowner, b.datdba)
WHERE b.datname = current_database()
"""

FORBIDDEN = "42501"

PRINTING = {
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
}
"""Settings that change how PostgreSQL prints expressions and names, beside those of pg_dump."""

# By a role, a database or the URL. Only these are passed to pg_dump: a pooler may refuse them.
CHANGED = text(
    "SELECT name FROM pg_settings WHERE name = ANY (:names)"
    " AND source NOT IN ('default', 'configuration file', 'override')"
)

REVISIONS = "ROWS of alembic_version"

Columns = Mapping[str, Mapping[str, int]]
"""Columns of each table with their numbers. PostgreSQL never reuses a number."""


@dataclass(frozen=True)
class Catalogue:
    """All objects of a database.

    Attributes:
        objects: SQL of each object, by type and name, such as ``TABLE public.users``.
        server: Major version of the server.
        roles: The result of ``ROLES``.
        unreadable: Tables, by schema and name, that are omitted, as this role may not read them.
    """

    objects: Mapping[str, str]
    columns: Columns
    # Not objects of the database.
    server: int = field(compare=False)
    roles: Row[Any] = field(compare=False)
    unreadable: Set[tuple[str, str]] = field(compare=False, default=frozenset())

    @property
    def revisions(self) -> list[str] | None:
        """The revisions in ``alembic_version``; None if it does not exist."""
        rows = self.objects.get(REVISIONS)
        return None if rows is None else rows.split()


def snapshot(url: URL | str, without: Set[tuple[str, str]] = frozenset()) -> Catalogue:
    """Read the objects of a database, except for some tables, by schema and name.

    Raises:
        CommandError: It cannot be read. The message says why.
    """
    url = make_url(url).set(drivername="postgresql")
    with migrator.connect(url, migrator.Settings(connect_wait=0)) as connection:
        try:
            return _snapshot(url, connection, without)
        except DBAPIError as error:
            cause = " ".join(str(error.orig).split())
            advice = "Grant this role pg_read_all_data." if sqlstate(error) == FORBIDDEN else ""
            if ROW_SECURITY in cause:
                advice = BYPASS_ROW_SECURITY
            raise CommandError(
                f"The catalogue cannot be read: {cause}. {advice}".strip()
            ) from error


def major_version(connection: Connection) -> int:
    """Return the major version of the server, such as 18."""
    return int((connection.dialect.server_version_info or (0,))[0])


def _snapshot(url: URL, connection: Connection, without: Set[tuple[str, str]]) -> Catalogue:
    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    changed = connection.scalars(CHANGED, {"names": list(PRINTING)}).all()
    # Regardless of the settings of the database or the role.
    for name, value in {"search_path": SCHEMA, **PRINTING}.items():
        connection.execute(select(func.set_config(name, value, True)))
    unreadable = {(schema, name) for schema, name in connection.execute(text(UNREADABLE))}
    not_dumped: dict[str, str] = dict(map(tuple, connection.execute(text(NOT_DUMPED))))
    if connection.scalar(text("SELECT to_regclass('public.alembic_version')")) is not None:
        rows = connection.scalars(text("SELECT version_num FROM alembic_version ORDER BY 1"))
        not_dumped[REVISIONS] = "\n".join(rows)
    columns: dict[str, dict[str, int]] = {}
    for table, column, number in connection.execute(text(COLUMNS)):
        columns.setdefault(table, {})[column] = number
    roles = connection.execute(text(ROLES)).one()
    server = major_version(connection)
    connection.commit()
    settings = {name: PRINTING[name] for name in changed}
    objects = dict(_dumped(pg_dump.schema(url, server, unreadable | without, settings)))
    objects |= {
        name if name == REVISIONS else f"{name} (not in the dump)": text
        for name, text in not_dumped.items()
    }
    return Catalogue(objects, columns, server, roles, unreadable)


def _dumped(dump: str) -> Iterator[tuple[str, str]]:
    entries = list(HEADER.finditer(dump))
    ends = [entry.start() for entry in entries[1:]] + [len(dump)]
    seen: set[str] = set()
    for entry, end in zip(entries, ends, strict=True):
        text = NOISE.sub("", dump[entry.end() : end]).strip()
        parts = [entry["type"], entry["name"]]
        if entry["type"].startswith("DATABASE"):
            parts[1] = "this_database"
        elif entry["name"].startswith("DATABASE "):
            parts[1] = "DATABASE this_database"
        if parts[1].endswith("this_database"):
            text = DATABASE_NAME.sub(r"\1this_database", text)
        if entry["schema"] != "-":
            parts[1] = f"{entry['schema']}.{entry['name']}"
        key = " ".join(parts)
        while key in seen:
            key += " (another)"
        seen.add(key)
        if entry["tablespace"]:
            text += f"\n-- Tablespace: {entry['tablespace']}"
        yield key, text


def added(before: Columns, after: Columns) -> dict[str, set[str]]:
    """Return the columns that were added to each existing table, by name and number."""
    return {
        table: {column for column, number in here.items() if before[table].get(column) != number}
        for table, here in after.items()
        if table in before
    }


def differences(
    left: Catalogue,
    right: Catalogue,
    sides: tuple[str, str],
    files_for: Callable[[str], str] | None,
    unordered: Mapping[str, Set[str]],
) -> str:
    """Return the differences of two databases, object by object; empty if there are none.

    Args:
        left: One database.
        right: The other.
        sides: Names of the two for the report.
        files_for: Returns the files to check for an object, given its SQL; or None.
        unordered: Columns of tables whose position is ignored.
    """
    report = []
    for name in sorted(left.objects.keys() | right.objects.keys()):
        texts = [side.objects.get(name) for side in (left, right)]
        both = [_lines(name, text, unordered.get(name, set())) for text in texts]
        if both[0] == both[1]:
            continue
        files = f" see {files_for(f'{name} {texts[0] or texts[1]}')}" if files_for else ""
        report.append(f"{name}:{files}")
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
    # A trailing comma depends on the next line, which may be the one that differs.
    lines = [line.removesuffix(",") for line in lines]

    def sort_key(line: str) -> str:
        column = re.match(r' {4}"?(\w+)', line)
        return column[1] if column and column[1] in unordered else ""

    return sorted(lines, key=sort_key)


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
