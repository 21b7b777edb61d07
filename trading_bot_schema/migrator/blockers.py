"""The sessions that a migration waits for."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, text

# Never the text of a query: it may hold secrets. Others' times need pg_read_all_stats.
_SESSIONS = text(
    """
    SELECT CASE WHEN pid = 0 THEN 'a prepared transaction (see pg_prepared_xacts)' ELSE
        format('pid %s (user %s, application %s, client %s, %s, connected %s, %s,'
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
    END
    FROM (SELECT DISTINCT unnest(CAST(:pids AS integer[])) AS pid) AS pids
    LEFT JOIN pg_stat_activity USING (pid)
    ORDER BY pid
    """
)


def describe_sessions(connection: Connection, pids: Sequence[int]) -> str:
    """Describe sessions on one line: user, application, client, state, and since when."""
    return "; ".join(connection.scalars(_SESSIONS, {"pids": list(pids)}))


def describe_blockers(connection: Connection, pid: int) -> str:
    """Describe the sessions that a session waits for; an empty string: none."""
    pids = connection.scalar(select(func.pg_blocking_pids(pid)))
    return describe_sessions(connection, pids) if pids else ""
