"""A second connection, which monitors the migrating one and shows its progress."""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trading_bot_schema.migrator.blockers import describe_blockers
from trading_bot_schema.migrator.errors import reason
from trading_bot_schema.migrator.hold import Hold
from trading_bot_schema.migrator.settings import Settings

log = logging.getLogger("alembic.migrator")

RECONNECT_SECONDS = 10
SHOW_AFTER_SECONDS = 1
LOG_SECONDS = 10

# PostgreSQL docs, "CREATE INDEX Progress Reporting". Not every phase has a counter.
_PROGRESS = text(
    """
    SELECT extract(epoch FROM clock_timestamp() - query_start)::float AS seconds, phase,
        concat_ws(' ', command, pg_class.relname) || ' on ' || CAST(relid AS regclass) AS what,
        CASE WHEN blocks_total > 0 THEN 'blocks' WHEN tuples_total > 0 THEN 'rows' END AS unit,
        CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END AS done,
        CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END AS total
    FROM pg_stat_activity
    LEFT JOIN pg_stat_progress_create_index USING (pid)
    LEFT JOIN pg_class ON pg_class.oid = index_relid
    WHERE pid = :pid AND state = 'active'
    """
)


class Progress:
    """Shows the phase of an index build, or the blocking sessions, after a second."""

    def __init__(self, show: Callable[[str], None] | None) -> None:
        """Show progress with ``show``, which replaces the previous line, or log it."""
        self._show = show
        self._phase: tuple[str, int, float] = ("", 0, 0)  # name, initial count, start time
        self._logged = -float(LOG_SECONDS)

    def update(self, watching: Connection, pid: int, blockers: str) -> None:
        """Show the progress of a session's statement."""
        row = watching.execute(_PROGRESS, {"pid": pid}).one_or_none()
        if row is None or row.seconds < SHOW_AFTER_SECONDS or not (row.what or blockers):
            self.end()
            return
        self.report(self._describe(row, time.monotonic()), blockers, time.monotonic())

    def report(self, what: str, blockers: str, now: float) -> None:
        """Show a line, or log it unless another was logged less than ten seconds ago."""
        line = "; ".join(filter(None, (what, f"waiting for {blockers}" if blockers else "")))
        if self._show:
            self._show(line)
        elif now - self._logged >= LOG_SECONDS:
            log.info(
                "%s",
                line[0].upper() + line[1:],
                extra={"event": "progress", "blockers": blockers or None},
            )
            self._logged = now

    def end(self) -> None:
        """Remove the line."""
        if self._show:
            self._show("")

    def _describe(self, row: Any, now: float) -> str:
        if row.what is None:
            return ""
        if self._phase[0] != row.phase:
            self._phase = (row.phase, row.done, now)
        parts = [f"{row.what}: {row.phase}"]
        if row.unit and row.total:
            parts.append(f"{min(row.done / row.total, 1):.0%} of {row.total:,} {row.unit}")
            _, initial, since = self._phase
            if row.done > initial and now > since:
                parts.append(f"{(row.done - initial) / (now - since):,.0f} {row.unit}/s")
        return ", ".join(parts)


class Watcher:
    """Monitors a connection from another one: blocking sessions, locks held, progress.

    While a statement runs, its own connection cannot query the server; and after it has failed,
    the server no longer knows which session blocked it.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Callable[[], Settings],
        hold: Hold,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """Start to watch ``connection``; ``show`` replaces the line of the terminal, if any."""
        self.blockers = ""
        """The sessions that the connection last waited for; empty: none was seen."""
        self._failure = ""  # of the second connection
        self._engine = connection.engine
        self._pid = connection.scalar(select(func.pg_backend_pid())) or 0
        connection.commit()
        self._settings = settings
        self._hold = hold
        self._progress = Progress(show)
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(1)  # it may wait for a server that is unreachable
        self._progress.end()

    @property
    def blocked_by(self) -> str:
        """The sessions that the connection last waited for, or why they are unknown."""
        if self.blockers:
            return self.blockers
        if self._failure:
            return f"an unknown session, as the migration is not watched ({self._failure})"
        return "a session that ended before it was identified"

    def _watch(self) -> None:
        failures = 0
        while not self._stop.wait(RECONNECT_SECONDS if failures > 1 else self._interval()):
            try:
                with self._engine.connect() as watching:
                    watching.execution_options(isolation_level="AUTOCOMMIT")
                    self._failure = ""
                    while True:
                        self._sample(watching)
                        failures = 0
                        if self._stop.wait(self._interval()):
                            return
            except SQLAlchemyError as error:
                self._failure = reason(error) if isinstance(error, DBAPIError) else str(error)
                failures += 1
                if failures < 2:  # a broken connection is replaced silently once
                    continue
                if (
                    isinstance(error, DBAPIError)
                    and error.statement
                    and self._settings().hold_timeout
                ):
                    self._hold.unwatched = self._failure
                if failures == 2:
                    log.warning(
                        "The migration is not watched, so that blocking sessions, progress and"
                        " hold_timeout are not known: %s",
                        self._failure,
                        extra={"event": "unwatched"},
                    )

    def _sample(self, watching: Connection) -> None:
        self._hold.check(watching, self._pid)
        blockers = describe_blockers(watching, self._pid)
        self.blockers = blockers or self.blockers
        self._progress.update(watching, self._pid, blockers)

    def _interval(self) -> float:
        """Return the seconds between samples: several within the shortest timeout."""
        settings = self._settings()
        timeouts = [ms for ms in (settings.lock_timeout, settings.hold_timeout) if ms]
        return min(1, max(0.02, min(timeouts, default=5000) / 5000))
