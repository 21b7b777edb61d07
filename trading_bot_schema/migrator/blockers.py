"""The sessions that a migration waits for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from trading_bot_schema.migrator.settings import Settings

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
               coalesce(state, backend_type, 'state unknown'),
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


@contextmanager
def watch_blockers(connection: Connection, settings: Settings) -> Iterator[list[str]]:
    """Collect, on a connection of its own, the sessions that block another connection.

    They have to be read while the statement waits, since the server does not keep them after it
    has failed. The list has the last sessions that were seen, or is empty.
    """
    blockers: list[str] = []
    pid = connection.scalar(select(func.pg_backend_pid()))
    connection.commit()
    interval = min(max(settings.lock_timeout / 5000, 0.02), 1)
    stop = Event()

    def watch() -> None:
        while not stop.wait(interval):
            with suppress(SQLAlchemyError), connection.engine.connect() as watcher:
                watcher.execution_options(isolation_level="AUTOCOMMIT")
                while not stop.wait(interval):
                    if pids := watcher.scalar(select(func.pg_blocking_pids(pid))):
                        blockers[:] = [describe_sessions(watcher, pids)]

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield blockers
    finally:
        stop.set()
        thread.join()
