"""Progress of a migration's statement, for the operator."""

import logging
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

log = logging.getLogger("alembic.migrator")

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
        self._shown = False

    def update(self, watching: Connection, pid: int, blockers: str) -> None:
        """Show the progress of a session's statement."""
        row = watching.execute(_PROGRESS, {"pid": pid}).one_or_none()
        if row is None or row.seconds < SHOW_AFTER_SECONDS or not (row.what or blockers):
            self.end()
            return
        self.report(self._describe(row, time.monotonic()), blockers, time.monotonic())

    def report(self, what: str, blockers: str, now: float) -> None:
        """Show a line, or log it unless another was logged less than ten seconds ago."""
        waiting = f"waiting for {blockers}" if blockers else ""
        line = "; ".join(filter(None, (what, waiting)))
        if self._show:
            self._show(line)
            self._shown = True
        elif now - self._logged >= LOG_SECONDS:
            fields = {"event": "progress", "blockers": blockers or None}
            log.info("%s", line[0].upper() + line[1:], extra=fields)
            self._logged = now

    def end(self) -> None:
        """Remove the line."""
        if self._show and self._shown:
            self._show("")
            self._shown = False

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
