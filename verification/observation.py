"""Observes the effects of a migration on the existing tables, statement by statement.

They are read from PostgreSQL, on the connection that migrates: the locks (``pg_locks``), the files
of the tables (a new one: rewritten), the rows read and changed (``pg_stat_xact_user_tables``). The
statements are those of psycopg's cursors, so also those that a revision runs without SQLAlchemy.

A statement outside a transaction releases its locks before they can be read, so it is first run in
a transaction that is rolled back. Where PostgreSQL refuses that, as for
``CREATE INDEX CONCURRENTLY``, sessions hold a lock on each table for which the statement has to
wait, and its request is read while it waits (:class:`_LockCapture`). The results do not depend on
timing.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from trading_bot_schema.docstrings import LOCKS, strongest
from verification import databases
from verification.cursors import intercept, run
from verification.project import Project

STRONG = LOCKS[LOCKS.index("SHARE") :]
"""Locks that block writes, or reads and writes."""

FOREIGN_KEY_LOCKS = {"ACCESS SHARE", "ROW SHARE", "SHARE ROW EXCLUSIVE"}
"""Locks on a table that a foreign key refers to."""

# Values that no revision would set, so that each change is detected.
TIMEOUTS = {
    "lock_timeout": "59003",
    "statement_timeout": "599003",
    "idle_in_transaction_session_timeout": "599003",
    "transaction_timeout": "599003",  # since PostgreSQL 17
}
SETTINGS = TIMEOUTS | {
    # As the planner chooses for a large table, since only the number of rows counts: an index for
    # few of them, a sequential scan for most.
    "seq_page_cost": "0",
    "random_page_cost": "0",
    "max_parallel_workers_per_gather": "0",  # whose reads are counted elsewhere
}
SET_THE_KNOWN = """
SELECT set_config(name, value, false)
FROM pg_settings JOIN unnest(%s::text[], %s::text[]) AS own (name, value) USING (name)
"""
POLL_SECONDS = 0.002
"""Interval at which the lock requests of another session are read."""

# Relations that belong to a table have it as the owner: indexes, TOAST, sequences of columns.
RELATIONS = """
SELECT c.oid::bigint, c.oid::regclass::text, coalesce(
    (SELECT indrelid FROM pg_index WHERE indexrelid = c.oid),
    (SELECT t.oid FROM pg_class t WHERE t.reltoastrelid = c.oid),
    (SELECT refobjid FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass
        AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
)::bigint AS owner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND c.oid >= 16384 -- no TOAST table of a catalogue
"""
FOREIGN_KEYS = "SELECT conrelid::bigint, confrelid::bigint FROM pg_constraint WHERE contype = 'f'"
STATE = """
SELECT
    (SELECT virtualtransaction FROM pg_locks
        WHERE locktype = 'virtualxid' AND granted AND pid = pg_backend_pid()),
    pg_current_xact_id_if_assigned() IS NOT NULL,
    (SELECT jsonb_agg(jsonb_build_array(relation::bigint, mode)) FROM pg_locks
        WHERE locktype = 'relation' AND granted AND pid = pg_backend_pid()),
    (SELECT jsonb_object_agg(oid, relfilenode::bigint) FROM pg_class WHERE relkind IN ('r', 'm')),
    (SELECT jsonb_object_agg(oid, conrelid::bigint) FROM pg_constraint WHERE NOT convalidated),
    (SELECT jsonb_object_agg(oid, jsonb_build_array(conrelid::bigint, confrelid::bigint))
        FROM pg_constraint WHERE convalidated AND contype = 'f'),
    (SELECT jsonb_object_agg(name, setting::bigint) FROM pg_settings WHERE name = ANY (%s))
"""
COUNTERS = ("read", "scans", "inserted", "updated", "deleted", "vacuumed")
# Rows read by sequential scans of tables, and entries read by scans of indexes.
STATISTICS = """
SELECT relid::bigint, seq_tup_read, seq_scan, n_tup_ins, n_tup_upd, n_tup_del, {1}
FROM {0}_tables
UNION ALL
SELECT indexrelid::bigint, {2}, {3}, 0, 0, 0, 0 FROM {4}
"""
IN_TRANSACTION = STATISTICS.format(
    "pg_stat_xact_user",
    "0",
    "pg_stat_get_xact_tuples_returned(indexrelid)",
    "pg_stat_get_xact_numscans(indexrelid)",
    "pg_index WHERE indrelid >= 16384",
)
COMMITTED = STATISTICS.format(
    "pg_stat_user", "vacuum_count", "idx_tup_read", "idx_scan", "pg_stat_user_indexes"
)
FLUSH = "SELECT pg_stat_force_next_flush()"
# In a snapshot from before a statement, xmax is the transaction that changed the row since then.
LARGEST = """
SELECT max(number) FROM (SELECT count(*) AS number FROM {} WHERE xmax <> '0' GROUP BY xmax) AS t
"""
# What code may use, with a column's number: a new name for the same is a renaming.
NAMES = """
WITH relation AS (
    SELECT c.oid, c.oid::regclass::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT c.relispartition AND n.nspname !~ '^pg_'
        AND (c.relkind IN ('r', 'p', 'v', 'm') OR c.relkind = 'S' AND NOT EXISTS ( -- of a column
            SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i')))
        AND n.nspname <> 'information_schema' AND c.relname <> %s
)
SELECT oid::bigint, 0, name, '' FROM relation
UNION ALL
SELECT oid::bigint, attnum::int, name, attname::text
FROM relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT p.oid::bigint, 0, p.oid::regprocedure::text, ''
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
UNION ALL
SELECT t.oid::bigint, 0, t.oid::regtype::text, ''
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND t.typtype IN ('d', 'e', 'r')
"""
REQUESTS = """
SELECT relation::bigint, mode FROM pg_locks
WHERE locktype = 'relation' AND NOT granted AND pid = %s
"""
CHANGES = re.compile(r"\s*(UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
WITH_ROWS = "SELECT oid::bigint, oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"


@dataclass
class Statement:
    """A statement, and its effects on the tables that existed before the migration.

    The indexes of a table and the sequences of its columns count as the table.

    Attributes:
        transaction: Number of the transaction. A statement outside transactions has its own
            number.
        writes: Whether the transaction has written anything so far, such as a new table.
        locks: By table, the locks that the transaction did not hold before.
        read: Tables of which all rows were read: by VACUUM, by the check of a new foreign key, or
            by a scan of the table or of an index that read more than half of the rows that the
            table had then. (An index may have few of its rows, and a lookup reads one.)
        emptied: Tables that TRUNCATE gave a new, empty file.
        largest: Rows updated and deleted by the largest of its transactions, if it commits them
            itself.
        added_unvalidated: OIDs of constraints that it added as NOT VALID.
        validated: OIDs of constraints that it validated, and their tables.
        timeouts: Timeouts that it set, in milliseconds; 0: none.
        finds_nothing: Whether it changes no row whatever rows there were: by ``x = NULL``, or by
            new columns.
    """

    sql: str
    transaction: int
    can_be_in_transaction: bool = True
    writes: bool = False
    locks: dict[str, set[str]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    largest: Counter[str] | None = None
    added_unvalidated: set[int] = field(default_factory=set)
    validated: dict[int, str] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=dict)
    finds_nothing: bool = False

    @property
    def short(self) -> str:
        """The statement on one line, for messages."""
        line = " ".join(re.sub(r"(?m)^\s*--.*$", "", self.sql).split())
        return line if len(line) <= 120 else f"{line[:117]}..."

    @property
    def changed(self) -> Counter[str]:
        """Rows inserted, updated and deleted, by table."""
        return self.inserted + self.updated + self.deleted

    @property
    def changed_at_once(self) -> Counter[str]:
        """Rows updated and deleted in one transaction, by table."""
        return self.updated + self.deleted if self.largest is None else self.largest


@dataclass
class Observation:
    """The effects of a migration.

    Attributes:
        rows: The tables that existed before, with the number of rows of each.
        foreign_keys: Tables connected by a foreign key, before or after: two, or one that
            references itself.
        removed: By what code names: ``drops staff.wage``, ``renames staff.wage to staff.pay``.
    """

    project: Project
    rows: dict[str, int]
    foreign_keys: set[frozenset[str]]
    statements: list[Statement] = field(default_factory=list)
    removed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def transactions(self) -> list[list[Statement]]:
        """The statements of each transaction."""
        by_transaction = groupby(self.statements, key=lambda statement: statement.transaction)
        return [list(statements) for _, statements in by_transaction]


@dataclass(frozen=True)
class TakenLock:
    """A lock on a table, and the effects of the statements while it is the strongest one held.

    Attributes:
        reads: Whether all rows of the table were read.
    """

    table: str
    lock: str
    reads: bool
    rewrites: bool


def locks_taken(observation: Observation) -> set[TakenLock]:
    """Return the locks on each table, as each transaction obtains stronger ones."""
    taken: dict[tuple[str, str], tuple[bool, bool]] = {}
    for statements in observation.transactions:
        held: dict[str, str] = {}
        for statement in statements:
            for table, locks in statement.locks.items():
                held[table] = strongest([*locks, held.get(table, LOCKS[0])])
            for table, lock in held.items():
                reads, rewrites = taken.get((table, lock), (False, False))
                taken[table, lock] = (
                    reads or table in statement.read,
                    rewrites or table in statement.rewritten,
                )
    return {TakenLock(*lock, *effects) for lock, effects in taken.items()}


def unknown_changes(observation: Observation) -> Iterator[str]:
    """Yield the statements that should change rows, none of which had a row to change.

    The batches of a loop differ in numbers only, and count as one statement. A statement that
    commits its own batches is one, too.
    """
    by_text: dict[str, list[Statement]] = {}
    for statement in observation.statements:
        if CHANGES.match(statement.sql) or statement.largest is not None:
            by_text.setdefault(re.sub(r"\d+", "0", statement.sql), []).append(statement)
    for same in by_text.values():
        if not any(
            statement.changed.total()
            or statement.finds_nothing
            or observation.project.version_table in statement.sql
            for statement in same
        ):
            yield (
                f"{same[0].short}: changes no row here, so its effect is unknown. Add a row that"
                f" it changes to {observation.project.rows_file}."
            )


def observe(url: str, migrate: Callable[[Connection], object], project: Project) -> Observation:
    """Run a migration on a connection to a database, and return its effects.

    The tables must have rows: a scan of an empty table cannot be detected.
    """
    with psycopg.connect(url, autocommit=True) as monitor, ExitStack() as stack:
        observer = _Observer(url, monitor, stack, project)
        with databases.sync_engine(url).connect() as connection:
            connection.exec_driver_sql(SET_THE_KNOWN, ([*SETTINGS], [*SETTINGS.values()]))
            connection.commit()
            intercept(connection, observer.statement)
            migrate(connection)
            connection.commit()
        observer.result.foreign_keys |= observer.foreign_keys()
        observer.result.removed = observer.removed()
        return observer.result


@dataclass(frozen=True)
class _State:
    """The state of PostgreSQL at one moment.

    Attributes:
        unvalidated: Constraints and their tables.
        foreign_keys: Those that are validated, and their tables: the referencing and the
            referenced one.
    """

    transaction: str
    writes: bool
    locks: set[tuple[int, str]]
    files: dict[int, int]
    unvalidated: dict[int, int]
    foreign_keys: dict[int, list[int]]
    timeouts: dict[str, int]
    counters: dict[int, Counter[str]]


class _Observer:
    """Reads the state of the migrating connection before and after each statement."""

    def __init__(
        self, url: str, monitor: psycopg.Connection[Any], stack: ExitStack, project: Project
    ) -> None:
        self._monitor = monitor
        self._names = _tables(monitor, project.version_table)
        rows = {}
        for oid, name in monitor.execute(WITH_ROWS).fetchall():
            if oid in self._names:
                (rows[name],) = monitor.execute(f"SELECT count(*) FROM {name}").fetchone() or (0,)
        monitor.execute(FLUSH)  # so that these reads are not attributed to the migration
        self.result = Observation(project, rows, self.foreign_keys())
        self._rows = dict(rows)
        """The number of rows now."""
        self._code_names = self._read_code_names()
        self._capture = _LockCapture(url, monitor, stack, self._names)
        self._transactions: dict[str, int] = {}
        self._snapshot = stack.enter_context(psycopg.connect(url))
        self._snapshot.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def foreign_keys(self) -> set[frozenset[str]]:
        """Return the tables that foreign keys connect."""
        return {
            frozenset((self._names[oid], self._names[other]))
            for oid, other in self._monitor.execute(FOREIGN_KEYS)
            if oid in self._names and other in self._names
        }

    def _read_code_names(self) -> dict[tuple[int, int], tuple[str, str]]:
        rows = self._monitor.execute(NAMES, [self.result.project.version_table])
        return {(oid, number): (name, column) for oid, number, name, column in rows}

    def removed(self) -> dict[str, list[str]]:
        """Return the names that code can no longer use."""
        names, now = self._code_names, self._read_code_names()
        gone = set(names.values()) - set(now.values())
        removed: dict[str, list[str]] = {}
        for key, (name, column) in sorted(names.items()):
            if (name, column) in gone and (not column or (name, "") not in gone):
                old = f"{name}.{column}" if column else name
                renamed = ".".join(filter(None, now.get(key, ())))
                change = f"renames {old} to {renamed}" if renamed else f"drops {old}"
                removed.setdefault(name, []).append(change)
        return removed

    @contextmanager
    def statement(
        self, raw: psycopg.Connection[Any], text: str, parameters: Any, many: bool
    ) -> Iterator[None]:
        """Record the effects of the statement that runs in the block."""
        if not raw.autocommit or raw.info.transaction_status != TransactionStatus.IDLE:
            before = self._state(raw, IN_TRANSACTION)
            yield
            after = self._state(raw, IN_TRANSACTION)
            held = before.locks if before.transaction == after.transaction else set()
            effects = self._add(raw, text, before, after, after.locks - held)
            if CHANGES.match(text) and not effects.changed.total() and not many:
                effects.finds_nothing = self._finds_nothing(raw, text, parameters)
        elif not self._is_observed_in_trial(raw, text, parameters, many):
            run(raw, FLUSH)
            before = self._state(raw, COMMITTED)
            with self._capture.requests(raw.info.backend_pid) as requests:
                yield
            run(raw, FLUSH)
            after = self._state(raw, COMMITTED)
            effects = self._add(raw, text, before, after, requests, can_be_in_transaction=False)
            if self._snapshot.info.transaction_status == TransactionStatus.INTRANS:
                effects.largest = self._largest(effects.updated + effects.deleted)
        else:
            yield

    def _finds_nothing(self, raw: psycopg.Connection[Any], text: str, parameters: Any) -> bool:
        """Return whether a statement that changed nothing would do so with any rows."""
        named = set(re.findall(r"\w+", text))
        tables = {name for name in self.result.rows if name.rpartition(".")[2].strip('"') in named}
        old = {column for name, column in self._code_names.values() if name in tables}
        _, where, condition = re.sub(r"(?i)\bwhere\b", "WHERE", text).partition("WHERE")
        # All rows have the same value in a new column.
        is_of_new_columns = bool(where) and not old & set(re.findall(r"\w+", condition))
        return is_of_new_columns or _is_never_true(raw, text, parameters)

    def _largest(self, changed: Counter[str]) -> Counter[str]:
        """Return the most rows that one transaction changed since the snapshot, by table."""
        largest: Counter[str] = Counter()
        for table, number in changed.items():
            (most,) = run(self._snapshot, LARGEST.format(table)).fetchone() or (0,)
            largest[table] = min(number, most or 0)
        self._snapshot.rollback()
        return largest

    def _is_observed_in_trial(
        self, raw: psycopg.Connection[Any], text: str, parameters: Any, many: bool
    ) -> bool:
        """Observe a statement in a transaction that is rolled back, if PostgreSQL allows that."""
        try:
            run(raw, "BEGIN")
            before = self._state(raw, IN_TRANSACTION)
            trial = psycopg.Cursor(raw)
            (trial.executemany if many else trial.execute)(text.encode(), parameters)
            after = self._state(raw, IN_TRANSACTION)
            self._add(raw, text, before, after, after.locks)
        except psycopg.errors.ActiveSqlTransaction:
            return False
        except psycopg.errors.InvalidTransactionTermination:
            run(self._snapshot, "SELECT")  # takes it
            return False
        except psycopg.Error:
            return True  # The statement itself will fail in the same way.
        finally:
            run(raw, "ROLLBACK")
        return True

    def _state(self, raw: psycopg.Connection[Any], statistics: str) -> _State:
        row = run(raw, STATE, [list(TIMEOUTS)]).fetchone()
        assert row is not None
        transaction, writes, locks, files, unvalidated, foreign_keys, timeouts = row
        counted = run(self._monitor if statistics == COMMITTED else raw, statistics)
        return _State(
            transaction,
            writes,
            {(oid, _lock(mode)) for oid, mode in locks or ()},
            {int(oid): file for oid, file in (files or {}).items()},
            {int(oid): table for oid, table in (unvalidated or {}).items()},
            {int(oid): tables for oid, tables in (foreign_keys or {}).items()},
            timeouts,
            {
                oid: Counter(dict(zip(COUNTERS, (n or 0 for n in numbers), strict=True)))
                for oid, *numbers in counted
            },
        )

    def _add(
        self,
        raw: psycopg.Connection[Any],
        text: str,
        before: _State,
        after: _State,
        locks: set[tuple[int, str]],
        *,
        can_be_in_transaction: bool = True,
    ) -> Statement:
        """Record a statement, with its effects: the difference of two states."""
        number = self._transactions.setdefault(after.transaction, len(self._transactions))
        writes = after.writes if can_be_in_transaction else bool(locks)
        statement = Statement(text, number, can_be_in_transaction, writes)
        self.result.statements.append(statement)
        for oid, mode in locks:
            if name := self._names.get(oid):
                statement.locks.setdefault(name, set()).add(mode)
        for oid, file in before.files.items():
            if oid in self._names and after.files.get(oid, file) != file:
                (size,) = run(raw, "SELECT pg_relation_size(%s)", [oid]).fetchone() or (0,)
                name = self._names[oid]
                emptied = not size and self._rows.get(name)
                (statement.emptied if emptied else statement.rewritten).add(name)
        scanned = set()
        for oid in after.counters.keys() & self._names.keys():
            name, counted = self._names[oid], Counter(after.counters[oid])
            counted.subtract(before.counters.get(oid, {}))
            if counted["scans"]:
                scanned.add(name)
                if counted["read"] / counted["scans"] > self._rows[name] / 2:
                    statement.read.add(name)
            if counted["vacuumed"] and self._rows[name]:
                statement.read.add(name)
            statement.inserted[name] += counted["inserted"]
            statement.updated[name] += counted["updated"]
            statement.deleted[name] += counted["deleted"]
        # All references are checked, through an index if there is one, which may have few entries;
        # but none if the statement has added their column. They are looked up, or joined: how, and
        # so whether all rows of the other table are read, depends on the numbers of rows.
        for oid, tables in after.foreign_keys.items():
            if oid not in before.foreign_keys:
                name, other = (self._names.get(table, "") for table in tables)
                if statement.locks.get(other, set()) <= FOREIGN_KEY_LOCKS:
                    statement.read.discard(other)
                if self._rows.get(name) and name in scanned:
                    statement.read.add(name)
        for name in self._rows:
            self._rows[name] += statement.inserted[name] - statement.deleted[name]
            self._rows[name] *= name not in statement.emptied
        statement.added_unvalidated = after.unvalidated.keys() - before.unvalidated.keys()
        statement.validated = {
            oid: self._names.get(table, "")
            for oid, table in before.unvalidated.items()
            if oid not in after.unvalidated
        }
        statement.timeouts = {
            name: value for name, value in after.timeouts.items() if value != before.timeouts[name]
        }
        return statement


class _LockCapture:
    """Sessions, one for each table, that hold a lock for which a statement has to wait.

    When the statement requests a lock on a table, the request is recorded and that table's session
    releases its lock, so that all requests are recorded in turn until the statement ends.
    """

    def __init__(
        self,
        url: str,
        monitor: psycopg.Connection[Any],
        stack: ExitStack,
        table_names: Mapping[int, str],
    ) -> None:
        self._url, self._monitor, self._stack, self._table_names = url, monitor, stack, table_names
        self._sessions: dict[int, psycopg.Connection[Any]] = {}

    @contextmanager
    def requests(self, pid: int) -> Iterator[set[tuple[int, str]]]:
        """Make the statement of a session in the block wait; collect its relations and locks."""
        requests: set[tuple[int, str]] = set()
        ended = threading.Event()
        holders = {}
        for oid, name in self._monitor.execute(WITH_ROWS).fetchall():
            if oid not in self._table_names:
                continue
            if oid not in self._sessions:
                self._sessions[oid] = self._stack.enter_context(psycopg.connect(self._url))
            # This conflicts with every mode except ACCESS SHARE.
            self._sessions[oid].execute(f"LOCK TABLE ONLY {name} IN EXCLUSIVE MODE")
            holders[self._table_names[oid]] = self._sessions[oid]
        watcher = threading.Thread(target=self._watch, args=(pid, holders, requests, ended))
        watcher.start()
        try:
            yield requests
        finally:
            ended.set()
            watcher.join()

    def _watch(
        self,
        pid: int,
        holders: dict[str, psycopg.Connection[Any]],
        requests: set[tuple[int, str]],
        ended: threading.Event,
    ) -> None:
        try:
            while not ended.wait(POLL_SECONDS):
                for oid, mode in self._monitor.execute(REQUESTS, [pid]):
                    requests.add((oid, _lock(mode)))
                    if session := holders.pop(self._table_names.get(oid, ""), None):
                        session.rollback()
        finally:
            for session in holders.values():
                session.rollback()


def _is_never_true(raw: psycopg.Connection[Any], text: str, parameters: Any) -> bool:
    """Return whether PostgreSQL plans to look at no row for a statement, which it has run."""
    if ";" in text.rstrip("; \n"):
        return False  # perhaps several
    plan = [line.strip() for (line,) in run(raw, f"EXPLAIN {text}", parameters)]
    return plan[2:3] == ["One-Time Filter: false"]


def _tables(connection: psycopg.Connection[Any], version_table: str) -> dict[int, str]:
    """Return the table that each relation is, or belongs to, without Alembic's own."""
    relations = {oid: (name, owner) for oid, name, owner in connection.execute(RELATIONS)}

    def table(oid: int) -> str:
        name, owner = relations[oid]
        return table(owner) if owner in relations else str(name)

    tables = {oid: table(oid) for oid in relations}
    return {oid: name for oid, name in tables.items() if name != version_table}


def _lock(mode: str) -> str:
    """Return a lock's name in SQL: ``SHARE UPDATE EXCLUSIVE``, not ShareUpdateExclusiveLock."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()
