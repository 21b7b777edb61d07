"""Observes the effects of a migration on the existing tables, statement by statement.

They are read from PostgreSQL, on the connection that migrates: the locks (``pg_locks``), the files
of the tables (a new one: rewritten), the rows read and changed (``pg_stat_xact_user_tables``).

A statement outside a transaction releases its locks before they can be read, so it is first run in
a transaction that is rolled back. Where PostgreSQL refuses that, as for
``CREATE INDEX CONCURRENTLY``, sessions hold a lock on each table for which the statement has to
wait, and its request is read while it waits (:class:`_LockCapture`). The results do not depend on
timing.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event

from trading_bot_schema.docstrings import LOCKS, strongest
from verification import databases
from verification.project import Project

STRONG = LOCKS[LOCKS.index("SHARE") :]
"""Locks that block writes, or reads and writes."""

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
CANNOT_RUN_IN_A_TRANSACTION = (
    psycopg.errors.ActiveSqlTransaction,
    psycopg.errors.InvalidTransactionTermination,
)
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
    (SELECT jsonb_object_agg(oid, conrelid::bigint) FROM pg_constraint
        WHERE convalidated AND contype = 'f'),
    (SELECT jsonb_object_agg(name, setting::bigint) FROM pg_settings WHERE name = ANY (%s))
"""
COUNTERS = ("read", "scans", "inserted", "updated", "deleted")
# Rows read by sequential scans of tables, and entries read by scans of indexes.
STATISTICS = """
SELECT relid::bigint, seq_tup_read, seq_scan, n_tup_ins, n_tup_upd, n_tup_del FROM {0}_tables
UNION ALL
SELECT indexrelid::bigint, {1}, {2}, 0, 0, 0 FROM {3}
"""
IN_TRANSACTION = STATISTICS.format(
    "pg_stat_xact_user",
    "pg_stat_get_xact_tuples_returned(indexrelid)",
    "pg_stat_get_xact_numscans(indexrelid)",
    "pg_index WHERE indrelid >= 16384",
)
COMMITTED = STATISTICS.format("pg_stat_user", "idx_tup_read", "idx_scan", "pg_stat_user_indexes")
FLUSH = "SELECT pg_stat_force_next_flush()"
LARGEST = """
SELECT max(number) FROM (SELECT count(*) AS number FROM {} WHERE xmax <> '0' GROUP BY xmax) t
"""
REQUESTS = """
SELECT relation::bigint, mode FROM pg_locks
WHERE locktype = 'relation' AND NOT granted AND pid = %s
"""
WITH_ROWS = "SELECT oid::bigint, oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"


@dataclass
class Statement:
    """A statement, and its effects on the tables that existed before the migration.

    The indexes of a table and the sequences of its columns count as the table.
    """

    sql: str
    transaction: int
    """Number of the transaction. A statement outside transactions has its own number."""
    can_be_in_transaction: bool = True
    writes: bool = False
    """Whether the transaction has written anything so far, such as a new table."""
    locks: dict[str, set[str]] = field(default_factory=dict)
    """By table, the locks that the transaction did not hold before."""
    read: set[str] = field(default_factory=set)
    """Tables of which all rows were read."""
    rewritten: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    """Tables that TRUNCATE gave a new, empty file."""
    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    largest: Counter[str] | None = None
    """Rows updated and deleted by the largest of its transactions, if it commits them itself."""
    added_unvalidated: set[int] = field(default_factory=set)
    """OIDs of constraints that it added as NOT VALID."""
    validated: dict[int, str] = field(default_factory=dict)
    """OIDs of constraints that it validated, and their tables."""
    timeouts: dict[str, int] = field(default_factory=dict)
    """Timeouts that it set, in milliseconds; 0: none."""

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
    """The effects of a migration."""

    project: Project
    rows: dict[str, int]
    """The tables that existed before, with the number of rows of each."""
    foreign_keys: set[frozenset[str]]
    """Tables connected by a foreign key, before or after: two, or one that references itself."""
    statements: list[Statement] = field(default_factory=list)

    @property
    def transactions(self) -> list[list[Statement]]:
        """The statements of each transaction."""
        transactions: dict[int, list[Statement]] = {}
        for statement in self.statements:
            transactions.setdefault(statement.transaction, []).append(statement)
        return list(transactions.values())


@dataclass(frozen=True)
class TakenLock:
    """A lock on a table, and the effects of the statements while it is the strongest one held."""

    table: str
    lock: str
    reads: bool
    """Whether all rows of the table were read."""
    rewrites: bool


def locks_taken(observation: Observation) -> set[TakenLock]:
    """Return the locks on each table, as each transaction obtains stronger ones."""
    effects_by_lock: dict[tuple[str, str], set[str]] = {}
    for statements in observation.transactions:
        held: dict[str, str] = {}
        for statement in statements:
            for table, locks in statement.locks.items():
                held[table] = strongest([*locks, held.get(table, LOCKS[0])])
            for table, lock in held.items():
                effects = effects_by_lock.setdefault((table, lock), set())
                effects |= {"reads"} if table in statement.read else set()
                effects |= {"rewrites"} if table in statement.rewritten else set()
    return {
        TakenLock(table, lock, "reads" in effects, "rewrites" in effects)
        for (table, lock), effects in effects_by_lock.items()
    }


def unknown_changes(observation: Observation) -> list[Statement]:
    """Return the statements that should change rows, none of which had a row to change.

    The batches of a loop differ in numbers only, and count as one statement; a statement that
    commits its own batches is one.
    """
    by_text: dict[str, list[Statement]] = {}
    for statement in observation.statements:
        changes = re.match(r"\s*(UPDATE|DELETE|MERGE)\b", statement.sql, re.IGNORECASE)
        if changes or statement.largest is not None:
            by_text.setdefault(re.sub(r"\d+", "0", statement.sql), []).append(statement)
    return [
        same[0]
        for same in by_text.values()
        if not any(statement.changed.total() for statement in same)
        and not any(observation.project.version_table in statement.sql for statement in same)
    ]


def observe(url: str, migrate: Callable[[Connection], object], project: Project) -> Observation:
    """Run a migration on a connection to a database, and return its effects.

    The tables must have rows: a scan of an empty table cannot be detected.
    """
    with psycopg.connect(url, autocommit=True) as monitor, ExitStack() as stack:
        observer = _Observer(url, monitor, stack, project)
        engine = databases.sync_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql(SET_THE_KNOWN, ([*SETTINGS], [*SETTINGS.values()]))
            connection.commit()
            event.listen(engine, "before_cursor_execute", observer.before)
            event.listen(engine, "after_cursor_execute", observer.after)
            for end in ("commit", "rollback", "rollback_savepoint"):
                event.listen(engine, end, observer.ended)
            event.listen(engine, "handle_error", observer.failed)
            migrate(connection)
            connection.commit()
        observer.result.foreign_keys |= observer.foreign_keys()
        return observer.result


@dataclass(frozen=True)
class _State:
    """The state of PostgreSQL at one moment."""

    transaction: str
    writes: bool
    locks: set[tuple[int, str]]
    files: dict[int, int]
    unvalidated: dict[int, int]
    """Constraints and their tables."""
    foreign_keys: dict[int, int]
    """Those that are validated."""
    timeouts: dict[str, int]
    counters: dict[int, Counter[str]]


class _Observer:
    """Reads the state of the migrating connection before and after each statement."""

    def __init__(
        self, url: str, monitor: psycopg.Connection[Any], stack: ExitStack, project: Project
    ) -> None:
        self._monitor = monitor
        self._stack = stack
        self._names = _tables(monitor, project.version_table)
        rows = {}
        for oid, name in monitor.execute(WITH_ROWS).fetchall():
            if oid in self._names:
                (rows[name],) = monitor.execute(f"SELECT count(*) FROM {name}").fetchone() or (0,)
        monitor.execute(FLUSH)  # so that these reads are not attributed to the migration
        self.result = Observation(project, rows, set())
        self._rows = dict(rows)
        """The number of rows now."""
        self.result.foreign_keys = self.foreign_keys()
        self._capture = _LockCapture(url, monitor, stack, self._names)
        self._transactions: dict[str, int] = {}
        self._before: _State | None = None
        self._last: _State | None = None
        self._is_capturing = False
        self._url = url
        self._old_rows: psycopg.Connection[Any] | None = None
        """Sees the rows as before a statement that commits, and which transaction changed them."""

    def foreign_keys(self) -> set[frozenset[str]]:
        """Return the tables that foreign keys connect."""
        return {
            frozenset((self._names[oid], self._names[other]))
            for oid, other in self._monitor.execute(FOREIGN_KEYS)
            if oid in self._names and other in self._names
        }

    def before(
        self, _: Any, cursor: Any, statement: str, parameters: Any, __: Any, many: bool
    ) -> None:
        raw: psycopg.Connection[Any] = cursor.connection
        status = raw.info.transaction_status
        if not raw.autocommit or status != TransactionStatus.IDLE:
            # Nothing has changed since the last statement of the same transaction.
            same = status == TransactionStatus.INTRANS and self._last
            self._before = same or self._state(raw, IN_TRANSACTION)
            return
        try:
            raw.execute("BEGIN")
            before = self._state(raw, IN_TRANSACTION)
            trial = raw.cursor()
            (trial.executemany if many else trial.execute)(statement, parameters)
            after = self._state(raw, IN_TRANSACTION)
            number = self._number_of(after.transaction)
            self._add(raw, Statement(statement, number), before, after, after.locks)
        except CANNOT_RUN_IN_A_TRANSACTION as error:
            raw.execute("ROLLBACK")
            if isinstance(error, psycopg.errors.InvalidTransactionTermination):
                self._old_rows = self._stack.enter_context(psycopg.connect(self._url))
                self._old_rows.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                self._old_rows.execute("SELECT")
            raw.execute(FLUSH)
            self._before = self._state(raw, COMMITTED)
            self._capture.begin(raw.info.backend_pid)
            self._is_capturing = True
        except psycopg.Error:  # The statement itself will fail in the same way.
            raw.execute("ROLLBACK")
        else:
            raw.execute("ROLLBACK")

    def after(self, _: Any, cursor: Any, statement: str, *__: Any) -> None:
        before, self._before = self._before, None
        raw: psycopg.Connection[Any] = cursor.connection
        if before is None:
            return
        if self._is_capturing:
            self._is_capturing = False
            requests = self._capture.end()
            raw.execute(FLUSH)
            after = self._state(raw, COMMITTED)
            number = self._number_of(after.transaction)
            effects = Statement(statement, number, can_be_in_transaction=False)
            self._add(raw, effects, before, after, requests)
            if self._old_rows is not None:
                effects.largest = Counter()
                for table, changed in (effects.updated + effects.deleted).items():
                    largest = self._old_rows.execute(LARGEST.format(table).encode()).fetchone()
                    effects.largest[table] = min(changed, *(largest or [0]))
                self._old_rows.close()
                self._old_rows = None
        else:
            after = self._state(raw, IN_TRANSACTION)
            number = self._number_of(after.transaction)
            held = before.locks if before.transaction == after.transaction else set()
            self._add(raw, Statement(statement, number), before, after, after.locks - held)
            self._last = after

    def ended(self, *_: Any) -> None:
        """Discard the state of the transaction."""
        self._last = None

    def failed(self, _: Any) -> None:
        self._before = self._last = None
        if self._is_capturing:
            self._is_capturing = False
            self._capture.end()

    def _number_of(self, transaction: str) -> int:
        return self._transactions.setdefault(transaction, len(self._transactions))

    def _state(self, raw: psycopg.Connection[Any], statistics: str) -> _State:
        row = raw.execute(STATE, [list(TIMEOUTS)], prepare=False).fetchone()
        assert row is not None
        transaction, writes, locks, files, unvalidated, foreign_keys, timeouts = row
        counted = (self._monitor if statistics == COMMITTED else raw).execute(
            statistics, prepare=False
        )
        return _State(
            transaction,
            writes,
            {(oid, _lock(mode)) for oid, mode in locks or ()},
            {int(oid): file for oid, file in (files or {}).items()},
            {int(oid): table for oid, table in (unvalidated or {}).items()},
            {int(oid): table for oid, table in (foreign_keys or {}).items()},
            timeouts,
            {
                oid: Counter(dict(zip(COUNTERS, (n or 0 for n in numbers), strict=True)))
                for oid, *numbers in counted
            },
        )

    def _add(
        self,
        raw: psycopg.Connection[Any],
        statement: Statement,
        before: _State,
        after: _State,
        locks: set[tuple[int, str]],
    ) -> None:
        """Record the effects of a statement: the difference of two states."""
        self.result.statements.append(statement)
        statement.writes = after.writes if statement.can_be_in_transaction else bool(locks)
        for oid, mode in locks:
            if name := self._names.get(oid):
                statement.locks.setdefault(name, set()).add(mode)
        for oid, file in before.files.items():
            if oid in self._names and after.files.get(oid, file) != file:
                (size,) = raw.execute("SELECT pg_relation_size(%s)", [oid]).fetchone() or (0,)
                name = self._names[oid]
                emptied = not size and self._rows.get(name)
                (statement.emptied if emptied else statement.rewritten).add(name)
        for oid, counters in after.counters.items():
            name = self._names.get(oid)
            if name is None:
                continue
            counted = Counter(counters)
            counted.subtract(before.counters.get(oid, {}))
            # Lookups of single rows add up, but each scan of them reads few. An index may have
            # fewer entries than its table has rows.
            if counted["scans"] and counted["read"] / counted["scans"] > self._rows[name] / 2:
                statement.read.add(name)
            statement.inserted[name] += counted["inserted"]
            statement.updated[name] += counted["updated"]
            statement.deleted[name] += counted["deleted"]
        # All references are checked, if there is an index on them through it; here may be few.
        for oid, table in after.foreign_keys.items():
            name = self._names.get(table, "")
            if oid not in before.foreign_keys and self._rows.get(name):
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
        self._requests: set[tuple[int, str]] = set()
        self._stop = threading.Event()
        self._watcher = threading.Thread()

    def begin(self, pid: int) -> None:
        """Make the next statement of a session wait."""
        self._requests = set()
        self._stop.clear()
        holders = {}
        for oid, name in self._monitor.execute(WITH_ROWS).fetchall():
            if oid not in self._table_names:
                continue
            if oid not in self._sessions:
                self._sessions[oid] = self._stack.enter_context(psycopg.connect(self._url))
            # This conflicts with every mode except ACCESS SHARE.
            self._sessions[oid].execute(f"LOCK TABLE ONLY {name} IN EXCLUSIVE MODE")
            holders[self._table_names[oid]] = self._sessions[oid]
        self._watcher = threading.Thread(target=self._watch, args=(pid, holders))
        self._watcher.start()

    def end(self) -> set[tuple[int, str]]:
        """Return the requests of the statement: relations and locks."""
        self._stop.set()
        self._watcher.join()
        return self._requests

    def _watch(self, pid: int, holders: dict[str, psycopg.Connection[Any]]) -> None:
        try:
            while not self._stop.wait(POLL_SECONDS):
                for oid, mode in self._monitor.execute(REQUESTS, [pid]):
                    self._requests.add((oid, _lock(mode)))
                    if session := holders.pop(self._table_names.get(oid, ""), None):
                        session.rollback()
        finally:
            for session in holders.values():
                session.rollback()


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
