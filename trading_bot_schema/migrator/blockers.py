"""The sessions that a migration waits for."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

# Never the text of a query: it may hold secrets. Others' times need pg_read_all_stats.
_SESSIONS = text(
    """
    SELECT format('pid %s (user %s, application %s, client %s, %s, connected %s, %s,'
               ' last query began %s)',
               pid,
               coalesce(usename, 'unknown'),
               coalesce(nullif(application_name, ''), 'unnamed'),
               coalesce(host(client_addr), 'local'),
               coalesce(nullif(concat_ws(' ', nullif(backend_type, 'client backend'), state), ''),
                        'state unknown'),
               coalesce(to_char(backend_start AT TIME ZONE 'UTC', 'HH24:MI:SS"Z"'), 'unknown'),
               coalesce('transaction open for '
                        || date_trunc('second', clock_timestamp() - xact_start)::text,
                        CASE WHEN state IS NULL THEN 'transaction unknown'
                             ELSE 'no transaction' END),
               coalesce(to_char(query_start AT TIME ZONE 'UTC', 'HH24:MI:SS"Z"'), 'unknown'))
    FROM (SELECT DISTINCT unnest(CAST(:pids AS integer[])) AS pid) AS pids
    LEFT JOIN pg_stat_activity USING (pid)
    ORDER BY pid
    """
)
_BLOCKING = text("SELECT pg_blocking_pids(CAST(:pid AS integer))")
# It has 0 for a prepared transaction, whose locks have no pid.
_PREPARED = text(
    """
    SELECT DISTINCT gid, owner
    FROM pg_locks waiting
    JOIN pg_locks held ON held.pid IS NULL AND held.granted
        AND (held.database, held.relation) = (waiting.database, waiting.relation)
        OR held.pid IS NULL AND held.transactionid = waiting.transactionid
    JOIN pg_locks x ON x.pid IS NULL AND x.locktype = 'transactionid'
        AND x.virtualtransaction = held.virtualtransaction
    JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE waiting.pid = :pid AND NOT waiting.granted
    ORDER BY gid
    """
)


def describe_sessions(connection: Connection, pids: Sequence[int]) -> str:
    """Describe sessions on one line: user, application, client, state, and since when."""
    return "; ".join(connection.scalars(_SESSIONS, {"pids": list(pids)}))


def describe_blockers(connection: Connection, pid: int) -> str:
    """Describe the sessions that a session waits for; an empty string: none."""
    pids = connection.scalar(_BLOCKING, {"pid": pid}) or []
    blockers = [describe_sessions(connection, [pid for pid in pids if pid])]
    if 0 in pids:
        prepared = connection.execute(_PREPARED, {"pid": pid})
        blockers += [describe_prepared(gid, owner) for gid, owner in prepared]
    return "; ".join(filter(None, blockers))


def describe_prepared(gid: str, owner: str) -> str:
    """Describe a prepared transaction, which no session has, and how it is ended."""
    literal = "'" + gid.replace("'", "''") + "'"
    return (
        f"the prepared transaction {literal} of {owner}: COMMIT PREPARED or"
        f" ROLLBACK PREPARED {literal}"
    )
