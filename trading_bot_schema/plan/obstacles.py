"""Obstacles to a migration at present. Everything is read, and nothing locked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DBAPIError

from trading_bot_schema.docstrings import LOCKS, strongest
from trading_bot_schema.migrator import errors
from trading_bot_schema.migrator.blockers import describe_prepared, describe_sessions
from trading_bot_schema.migrator.lock import holders
from trading_bot_schema.plan.revisions import PendingRevision
from trading_bot_schema.url import SCHEMA

NOT_RECORDED = "It exists, but alembic_version records no revision."
LONG_SECONDS = 5
"""A transaction that is open for longer is unlikely to end while a migration waits for it."""

_WEAKER_THAN_SHARE = ("ACCESS SHARE", "ROW SHARE")
CONFLICTS = {
    "ACCESS SHARE": LOCKS[7:],
    "ROW SHARE": LOCKS[6:],
    "ROW EXCLUSIVE": LOCKS[4:],
    "SHARE UPDATE EXCLUSIVE": LOCKS[3:],
    "SHARE": tuple(lock for lock in LOCKS[2:] if lock != "SHARE"),
    "SHARE ROW EXCLUSIVE": LOCKS[2:],
    "EXCLUSIVE": LOCKS[1:],
    "ACCESS EXCLUSIVE": LOCKS,
}
"""The conflicting locks of each lock on a table.

https://www.postgresql.org/docs/current/explicit-locking.html#TABLE-LOCK-COMPATIBILITY
"""
_MODES = {f"{''.join(word.capitalize() for word in lock.split())}Lock": lock for lock in LOCKS}
"""The names of locks in pg_locks, such as ShareUpdateExclusiveLock."""

_WRAPAROUND = "an autovacuum to prevent wraparound, which is never cancelled for a waiting session"


class Effect(StrEnum):
    """Effect of an obstacle on a migration that starts now.

    Attributes:
        BLOCKS: It would fail, or wait for too long.
        DELAYS: It would wait for a short time.
        NOTE: Worth knowing.
        UNKNOWN: This role may not see it.
    """

    BLOCKS = "blocks"
    DELAYS = "delays"
    NOTE = "note"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Obstacle:
    """Something that blocks or delays a migration, or is worth knowing."""

    effect: Effect
    description: str
    table: str | None = None


@dataclass(frozen=True)
class LockedTable:
    """A table that a migration locks.

    Attributes:
        exists: False: an earlier pending revision creates it, or it was dropped.
        bytes: With indexes and TOAST; None if not known.
        rows: As PostgreSQL estimates; None before the first ANALYZE, and of a table of Citus.
    """

    name: str
    lock: str
    exists: bool
    bytes: int | None
    rows: int | None


_TABLE = text(
    """
    SELECT c.oid::bigint AS oid, nullif(reltuples, -1)::bigint AS rows,
        pg_get_userbyid(relowner) AS owner,
        age(relfrozenxid) > current_setting('autovacuum_freeze_max_age')::bigint
            OR mxid_age(relminmxid)
                > current_setting('autovacuum_multixact_freeze_max_age')::bigint
            AS must_be_vacuumed,
        ARRAY(SELECT i.indexrelid::regclass::text FROM pg_index i
            WHERE i.indrelid = c.oid AND NOT (i.indisvalid AND i.indisready AND i.indislive)
            ORDER BY 1) AS invalid
    FROM pg_class c WHERE c.oid = to_regclass(CAST(:table AS text)) AND c.relkind IN ('r', 'p')
    """
)
# Waits for an ACCESS EXCLUSIVE lock of another session, at most for lock_timeout.
_SIZE = text("SELECT pg_total_relation_size(CAST(:oid AS oid))")
# Of a table of Citus, whose rows are in its shards.
_SIZE_OF_SHARDS = text("SELECT citus_total_relation_size(CAST(:oid AS oid))")
_HAS_CITUS = text("SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL")
_WITH_SHARDS = text("SELECT logicalrelid::oid::bigint FROM pg_dist_partition")
# pid is NULL for prepared transactions. Times of other users need pg_read_all_stats.
_HOLDING = text(
    """
    SELECT l.pid, array_agg(DISTINCT l.mode) AS modes, p.gid, p.owner AS prepared_by,
        extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::float
            AS seconds,
        CASE WHEN a.backend_type = 'autovacuum worker' THEN a.query END AS vacuum
    FROM pg_locks l
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
        AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.locktype = 'relation' AND l.granted AND l.relation = :oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.pid IS DISTINCT FROM pg_backend_pid()
    GROUP BY l.pid, p.gid, p.owner, a.xact_start, p.prepared, a.backend_type, a.query
    ORDER BY seconds DESC NULLS LAST
    """
)
_OLDEST_SNAPSHOT = text(
    """
    SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float AS seconds
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
    ORDER BY age(backend_xmin) DESC, xact_start LIMIT 1
    """
)
_SERVER = text(
    """
    SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only,
        pg_has_role('pg_read_all_stats', 'USAGE') AS sees_sessions
    """
)
_LAG = text(
    """
    SELECT format('%s is a standby that has yet to replay %s and is %s behind',
        coalesce(nullif(application_name, ''), client_addr::text, 'pid ' || pid),
        pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)),
        coalesce(date_trunc('milliseconds', replay_lag)::text, 'nothing'))
    FROM pg_stat_replication WHERE replay_lsn IS NOT NULL ORDER BY 1
    """
)
_MIGRATOR = text(
    """
    SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('alembic_version')
    """
)
_MAY = text(
    """
    SELECT has_schema_privilege(CAST(:role AS name), 'public', 'CREATE') AS create_tables,
        pg_has_role(current_user, CAST(:role AS name), 'MEMBER') AS be
    """
)
_MAY_ALTER = text("SELECT pg_has_role(CAST(:role AS name), CAST(:owner AS name), 'USAGE')")


def inspect(
    connection: Connection,
    revisions: Sequence[PendingRevision],
    locks: Mapping[str, str],
    created: Sequence[str],
) -> tuple[list[LockedTable], list[Obstacle]]:
    """Return the tables that the revisions lock, and the obstacles to the revisions.

    ``created`` are the tables that they create, if no revision is recorded. The connection should
    have a short lock_timeout and the isolation level AUTOCOMMIT.
    """
    tables, obstacles = [], list(_of_server(connection))
    existing = sa.inspect(connection).get_table_names(SCHEMA)
    obstacles += [
        Obstacle(Effect.BLOCKS, f"{NOT_RECORDED} {errors.EXISTS}", name)
        for name in created
        if name in existing and name != "alembic_version"
    ]
    role = connection.scalar(_MIGRATOR) or connection.scalar(text("SELECT current_user"))
    obstacles += _of_role(connection, str(role))
    concurrent = {
        table
        for revision in revisions
        if revision.outside_transactions
        for table in revision.tables
    }
    sharded = connection.scalars(_WITH_SHARDS).all() if connection.scalar(_HAS_CITUS) else ()
    for name, lock in locks.items():
        row = connection.execute(_TABLE, {"table": name}).one_or_none()
        if row is None:
            tables.append(LockedTable(name, lock, False, None, None))
            continue
        has_shards = row.oid in sharded
        size = _size(connection, row.oid, _SIZE_OF_SHARDS if has_shards else _SIZE)
        tables.append(LockedTable(name, lock, True, size, None if has_shards else row.rows))
        if not connection.scalar(_MAY_ALTER, {"role": role, "owner": row.owner}):
            description = f"{role}, who owns alembic_version, does not own it: {row.owner} does"
            obstacles.append(Obstacle(Effect.BLOCKS, description, name))
        obstacles += [
            Obstacle(
                Effect.NOTE,
                f"{index} is invalid: its build was interrupted, or is in progress",
                name,
            )
            for index in row.invalid
        ]
        obstacles += _holding(connection, name, row, lock, concurrent=name in concurrent)
    # A concurrent index build waits for the oldest snapshot.
    for row in connection.execute(_OLDEST_SNAPSHOT) if concurrent else ():
        effect = Effect.BLOCKS if row.seconds >= LONG_SECONDS else Effect.DELAYS
        session = describe_sessions(connection, [row.pid])
        obstacles.append(Obstacle(effect, f"the oldest snapshot is that of {session}"))
    obstacles += [
        Obstacle(Effect.UNKNOWN, f"{revision.revision}: {unknown}")
        for revision in revisions
        for unknown in revision.unknown
    ]
    return tables, sorted(obstacles, key=lambda obstacle: list(Effect).index(obstacle.effect))


def _size(connection: Connection, oid: int, query: TextClause) -> int | None:
    try:
        return int(connection.scalar(query, {"oid": oid}) or 0)
    except DBAPIError:
        return None  # locked


def _of_server(connection: Connection) -> Iterator[Obstacle]:
    server = connection.execute(_SERVER).one()
    if server.standby:
        yield Obstacle(
            Effect.BLOCKS, "this server is a standby: point DATABASE_URL at the primary"
        )
        return
    if server.read_only == "on":
        yield Obstacle(
            Effect.BLOCKS,
            "transactions are read-only here: see default_transaction_read_only, which ALTER"
            " DATABASE, ALTER ROLE or the server's configuration set",
        )
    if pids := holders(connection):
        sessions = describe_sessions(connection, pids)
        yield Obstacle(Effect.DELAYS, f"another migrator is running: {sessions}")
    if not server.sees_sessions:
        yield Obstacle(
            Effect.UNKNOWN,
            "since when others' transactions are open, their snapshots, autovacuum and the lag of"
            " standbys: GRANT pg_monitor to this role",
        )
    for lag in connection.scalars(_LAG):
        yield Obstacle(Effect.NOTE, lag)


def _of_role(connection: Connection, role: str) -> Iterator[Obstacle]:
    may = connection.execute(_MAY, {"role": role}).one()
    quoted = connection.dialect.identifier_preparer.quote(role)
    if not may.create_tables:
        yield Obstacle(
            Effect.BLOCKS,
            f"{role} may not create tables: GRANT CREATE, USAGE ON SCHEMA public TO {quoted}",
        )
    if not may.be:
        yield Obstacle(Effect.NOTE, f"this role may not migrate: run the migration as {role}")


def _holding(
    connection: Connection, table: str, state: Any, lock: str, *, concurrent: bool
) -> Iterator[Obstacle]:
    """Yield the sessions with a lock on a table for which the migration has to wait."""
    conflicting = set(CONFLICTS[lock])
    if concurrent:
        # An index is built once all transactions that may write to the table have ended.
        conflicting |= set(LOCKS) - set(_WEAKER_THAN_SHARE)
    for row in connection.execute(_HOLDING, {"oid": state.oid}):
        held = strongest(_MODES[mode] for mode in row.modes)
        if held not in conflicting:
            continue
        stays = row.pid is None or (
            row.vacuum is not None
            and ("to prevent wraparound" in row.vacuum or state.must_be_vacuumed)
        )
        if row.pid is None:
            holder = describe_prepared(row.gid, row.prepared_by)
        elif stays:
            holder = f"{_WRAPAROUND}, pid {row.pid}"
        else:
            holder = describe_sessions(connection, [row.pid])
        blocks = stays or row.seconds is None or row.seconds >= LONG_SECONDS
        effect = Effect.BLOCKS if blocks else Effect.DELAYS
        yield Obstacle(effect, f"{held} is held by {holder}", table)
    if state.must_be_vacuumed and lock not in _WEAKER_THAN_SHARE:
        yield Obstacle(Effect.NOTE, f"due for {_WRAPAROUND}: VACUUM it", table)
