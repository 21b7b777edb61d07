"""What stands between Alembic and the database: one migrator at a time, short locks, clear errors.

``alembic/env.py`` uses it for connections of its own. The settings are described in
``docs/operations.md``; which database to migrate is the matter of :mod:`models.url`.
"""

import itertools
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields
from threading import Event, Thread

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, func, pool, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.functions import Function

from models.redaction import hide_values

log = logging.getLogger("alembic.migrator")

LOCK_KEY = int.from_bytes(b"migrate")
"""Key of the advisory lock that the one migrator of a database holds."""

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
CONNECT_SECONDS = 10
# The longest time that PostgreSQL can be told, 24 days.
INT_MAX = 2**31 - 1

ADVICE = {
    "25006": "This server is read-only, perhaps a standby: point DATABASE_URL at the primary.",
    "42501": "Migrate as the role that owns the tables, or give this one the right to make some:"
    " GRANT CREATE, USAGE ON SCHEMA public.",
    "42P07": "The database has it already, but not from these migrations: use an empty database,"
    " or, if it has all that a revision makes, record that with `alembic stamp REVISION`.",
    "57014": "See statement_timeout; run it again with a longer one, such as"
    " `-x statement_timeout=10min`.",
}
"""What to do about a SQLSTATE. Source: PostgreSQL docs, "PostgreSQL Error Codes"."""


@dataclass(frozen=True)
class Settings:
    """How patient a migrator is. Times are in milliseconds."""

    lock_timeout: int = 5_000
    """Longest wait for a lock on a table, during which others queue up behind; 0: forever."""
    lock_attempts: int = 5
    """How often a revision is tried that does not get its locks."""
    statement_timeout: int = 0
    """Longest time that one statement may take; 0: any."""
    wait_timeout: int = 600_000
    """Longest wait for another migrator to finish."""

    @classmethod
    def read(cls, arguments: Mapping[str, str], environment: Mapping[str, str]) -> "Settings":
        """Read ``-x lock_timeout=10s``, else ``MIGRATION_LOCK_TIMEOUT=10s``, and so on.

        Raises:
            CommandError: A value is malformed or an argument unknown.
        """
        names = [field.name for field in fields(cls)]
        if unknown := sorted(set(arguments) - set(names)):
            raise CommandError(f"-x {unknown[0]} is not a setting. There are: {', '.join(names)}.")
        values = {}
        for name in names:
            variable = f"MIGRATION_{name.upper()}"
            if name in arguments:
                values[name] = _number(f"-x {name}", arguments[name])
            elif variable in environment:
                values[name] = _number(variable, environment[variable])
        return cls(**values)


def _number(name: str, value: str) -> int:
    if name.lower().endswith("attempts"):
        if value.isascii() and value.isdigit() and int(value) > 0:
            return int(value)
        raise CommandError(f"{name} is {value!r}, but should be a number from 1, such as 5.")
    units = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
    if value == "0":
        return 0
    match = re.fullmatch(r"([0-9]{1,5})(ms|s|min|h)", value)
    if match is None or int(match[1]) * units[match[2]] > INT_MAX:
        raise CommandError(
            f"{name} is {value!r}, but should be a time with a unit, such as 500ms, 10s, 2min, 1h."
        )
    return int(match[1]) * units[match[2]]


@contextmanager
def connect(url: URL, settings: Settings) -> Iterator[Connection]:
    """Open a connection to migrate with, and close it for good afterwards.

    Raises:
        CommandError: The driver is missing or the database cannot be reached.
    """
    engine = _engine(url)
    hide_values(engine)
    try:
        connection = engine.connect()
        for name, value in _server_settings(settings).items():
            connection.execute(select(func.set_config(name, value, False)))
        connection.commit()
    except DBAPIError as error:
        raise CommandError(
            f"Cannot connect to the database: {_reason(error)} Check DATABASE_URL (user, password,"
            " host, port, database, sslmode), and that the server is up."
        ) from error
    with connection:
        yield connection


def _engine(url: URL) -> Engine:
    defaults = {"fallback_application_name": "alembic", "connect_timeout": CONNECT_SECONDS}
    arguments = {name: defaults[name] for name in defaults.keys() - url.query.keys()}
    try:
        return create_engine(
            # Without the password, so that nothing that shows or pickles the engine's URL does.
            url._replace(drivername="postgresql+psycopg", password=None),
            connect_args=arguments | ({"password": url.password} if url.password else {}),
            poolclass=pool.NullPool,
            hide_parameters=True,
        )
    except ImportError as error:
        raise CommandError(
            f"The driver psycopg cannot be loaded: {error}. Install it with"
            " pip install 'psycopg[binary]'."
        ) from error


def _server_settings(settings: Settings) -> dict[str, str]:
    return {
        "lock_timeout": f"{settings.lock_timeout}ms",
        "statement_timeout": f"{settings.statement_timeout}ms",
        # A migrator that was killed, or whose host vanished, gives its locks back soon.
        "idle_in_transaction_session_timeout": "5min",
        "client_connection_check_interval": "5s",
        "tcp_keepalives_idle": "30s",
        "tcp_keepalives_interval": "10s",
        "tcp_keepalives_count": "3",
    }


def run(
    connection: Connection,
    migration: MigrationContext,
    settings: Settings,
    go: Callable[[], None],
) -> None:
    """Let ``go`` run the migrations, on a connection that :func:`connect` opened.

    Raises:
        CommandError: They failed. The message says why and what to do.
    """
    plan = _Plan(migration)
    try:
        with alone(connection, migration, settings):
            _try_repeatedly(connection, settings, plan, go)
            if not migration.opts.get("dont_mutate"):
                _log_result(connection, migration)
    except SQLAlchemyError as error:
        # When the connection breaks in autocommit_block(), Alembic fails once more on its way out.
        first = error if isinstance(error, DBAPIError) else error.__context__
        if not isinstance(first, DBAPIError):
            raise
        place = f"In {plan.steps[0]}: " if plan.steps else ""
        raise CommandError(place + _reason(first)) from first
    except KeyboardInterrupt:
        raise CommandError(
            "Interrupted. What was not committed is undone: run it again."
        ) from None


def _log_result(connection: Connection, migration: MigrationContext) -> None:
    script: ScriptDirectory = migration.opts["script"]
    heads = migration.get_current_heads()
    revision = ", ".join(heads) or "base"
    if heads and set(heads) == set(script.get_heads()):
        revision += " (head)"
    # The engine's URL has no password.
    url = connection.engine.url.set(drivername="postgresql")
    log.info("At %s: %s", revision, url.render_as_string())


@contextmanager
def alone(
    connection: Connection, migration: MigrationContext, settings: Settings
) -> Iterator[None]:
    """Be the only migrator of the database.

    The lock is the connection's own, so that it lasts through ``autocommit_block()`` and goes
    when the connection does. A caller's transaction keeps it until it ends instead. Commands
    that only read do not need it.

    Raises:
        CommandError: Another migrator did not finish in time.
    """
    if migration.opts.get("dont_mutate") or migration.opts.get("destination_rev") is None:
        # `alembic current`, `check` and the like. No need to make the version table either.
        migration.opts["dont_mutate"] = True
        yield
        return
    if connection.in_transaction():
        _wait(connection, settings, func.pg_try_advisory_xact_lock(LOCK_KEY), lambda: None)
        migration.autocommit_block = no_autocommit_block  # type: ignore[assignment, method-assign]
        yield
        return
    _wait(connection, settings, func.pg_try_advisory_lock(LOCK_KEY), connection.commit)
    try:
        yield
        connection.commit()
    finally:
        # A connection that broke, or was interrupted within a statement, gave the lock back.
        with suppress(SQLAlchemyError):
            connection.rollback()
            connection.execute(select(func.pg_advisory_unlock(LOCK_KEY)))
            connection.commit()


def no_autocommit_block() -> AbstractContextManager[None]:
    """Refuse to leave a caller's transaction.

    Raises:
        CommandError: Always.
    """
    raise CommandError(
        "This revision has steps that cannot be undone, such as CREATE INDEX CONCURRENTLY, so it"
        " does not run in a transaction that its caller has begun. Pass an engine, or a connection"
        " before its first statement."
    )


def _wait(
    connection: Connection,
    settings: Settings,
    lock: Function[bool],
    end_transaction: Callable[[], None],
) -> None:
    # Never with the blocking pg_advisory_lock(): its snapshot would keep a CREATE INDEX
    # CONCURRENTLY of the migrator that it waits for from finishing.
    deadline = time.monotonic() + settings.wait_timeout / 1000
    waiting = False
    while not connection.scalar(select(lock)):
        pids = connection.scalars(_HOLDERS, {"key": LOCK_KEY}).all()
        holder = _sessions(connection, pids) or "gone by now"
        end_transaction()
        if time.monotonic() >= deadline:
            raise CommandError(
                f"Another migrator is at work on this database: {holder}. Run this again when it"
                " has finished, or wait longer with `-x wait_timeout=30min`."
            )
        if not waiting:
            log.info("Waiting for another migrator: %s", holder)
            waiting = True
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311


def _try_repeatedly(
    connection: Connection, settings: Settings, plan: "_Plan", go: Callable[[], None]
) -> None:
    for attempt in itertools.count(1):
        with _blockers(connection, settings) as blockers:
            try:
                # In a transaction from here, so that Alembic does not make or empty its version
                # table in one of its own.
                connection.begin()
                go()
                connection.commit()
            except DBAPIError as error:
                if _sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED):
                    raise
                connection.rollback()
                by = blockers[0] if blockers else "a session that was gone too soon to see"
                blocked = f"{plan.steps[0]}: {_reason(error)} Blocked by {by}."
                if attempt == settings.lock_attempts:
                    raise CommandError(
                        f"In {blocked} Tried {attempt} times, for"
                        f" {settings.lock_timeout / 1000:g} s each. Run it again when they are"
                        " done, or end them with SELECT pg_terminate_backend(pid)."
                    ) from error
            else:
                return
        pause = min(2 ** (attempt - 1), 30) * random.uniform(0.5, 1)  # noqa: S311
        log.warning("%s Trying again in %.1f s.", blocked, pause)
        time.sleep(pause)


class _Plan:
    """The steps of an Alembic command that are still to do.

    Decided once: a second try must not count ``-1`` or ``+2`` from where the first one got to.
    """

    def __init__(self, migration: MigrationContext) -> None:
        self.steps: list[RevisionStep] = []
        self._decide: Callable[..., Iterable[RevisionStep]] | None = migration.opts["fn"]
        migration._migrations_fn = self._remaining

    def _remaining(
        self, heads: tuple[str, ...], migration: MigrationContext
    ) -> Iterator[RevisionStep]:
        if self._decide is not None:
            _check_known(heads, migration)
            try:
                self.steps.extend(self._decide(heads, migration))
            except AssertionError as error:  # such as ``head+1``, or nothing at all
                raise CommandError(
                    "There is no such revision. `alembic history` lists what there is."
                ) from error
            except CommandError as error:
                if isinstance(error.__cause__, ResolutionError):
                    raise CommandError(
                        f"{error}. `alembic history` lists what there is."
                    ) from error
                raise
            self._decide = None
        while self.steps:
            log.info("Running %s", self.steps[0])
            started = time.monotonic()
            yield self.steps[0]
            # Alembic asks for the next one when this one is committed.
            log.info("Done in %.2f s", time.monotonic() - started)
            del self.steps[0]


def _check_known(heads: tuple[str, ...], migration: MigrationContext) -> None:
    script: ScriptDirectory = migration.opts["script"]
    for head in heads:
        try:
            script.get_revision(head)
        except CommandError:
            raise CommandError(
                f"The database is at revision {head}, which is not among the migrations here."
                " Deploy the version of the code that has it; or, if the tables are those of a"
                " revision that is here, record that with `alembic stamp --purge REVISION`."
            ) from None


@contextmanager
def _blockers(connection: Connection, settings: Settings) -> Iterator[list[str]]:
    """Note who blocks a connection while it works: afterwards nobody can tell."""
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
                        blockers[:] = [_sessions(watcher, pids)]

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield blockers
    finally:
        stop.set()
        thread.join()


_HOLDERS = text(
    "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
    " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    " AND (classid::bigint << 32) + objid::bigint = :key AND objsubid = 1"
)
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


def _sessions(connection: Connection, pids: Sequence[int]) -> str:
    return "; ".join(connection.scalars(_SESSIONS, {"pids": list(pids)}))


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _reason(error: DBAPIError) -> str:
    """Say on one line what happened and what to do about it."""
    what = " ".join(str(error.orig).split()).removeprefix("connection failed: ")
    if error.connection_invalidated:
        advice = "The connection broke and what was not committed is undone: run it again."
    else:
        advice = ADVICE.get(_sqlstate(error) or "", "")
    end = "" if what.endswith((".", "?")) else "."
    return f"{what}{end} {advice}".strip()
