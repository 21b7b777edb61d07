"""Applies timeouts and limits to each statement of a migration, by its kind."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, func, select

from trading_bot_schema.migrator.hold import HeldTooLongError, Hold
from trading_bot_schema.migrator.settings import Settings

# PostgreSQL docs, "Lexical Structure". A comment within a comment makes a statement unknown.
_TOKEN = re.compile(
    r"""
    (?: \s | --[^\n]* | /\* (?:(?!/\*).)*? \*/ )+
    | (?P<string> '(?:[^']|'')*' )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<word> \w[\w$]* )
    | (?P<other> . )
    """,
    re.DOTALL | re.VERBOSE,
)

_NAME = r"[^\s;,]+( \. [^\s;,]+)*"
_VALIDATE = f"VALIDATE CONSTRAINT {_NAME}"
_CONCURRENT = re.compile(
    r"CREATE (UNIQUE )?INDEX CONCURRENTLY [^;]+"
    r"|DROP INDEX CONCURRENTLY [^;]+"
    r"|REINDEX (\( [^;)]+ \) )?(INDEX|TABLE|SCHEMA|DATABASE|SYSTEM) CONCURRENTLY [^;]+"
    r"|REINDEX \( ([^;)]+ , )?CONCURRENTLY( , [^;)]+)? \) [^;]+"
    rf"|ALTER TABLE (IF EXISTS )?(ONLY )?{_NAME}( \*)? {_VALIDATE}( , {_VALIDATE})*"
    r"|VACUUM(?! FULL\b)(?! \( ([^;)]+ , )?FULL\b)( [^;]+)?"
    r"|ANALY[SZ]E( [^;]+)?"
)


def is_concurrent(statement: str) -> bool:
    """Return whether a statement, outside a transaction, blocks neither readers nor writers.

    Such statements take SHARE UPDATE EXCLUSIVE, which blocks only maintenance of the same table,
    also while they wait for it. Several statements in one string are one transaction, so False.
    Source: PostgreSQL docs, "Explicit Locking", and the page of each statement.
    """
    tokens = []
    for match in _TOKEN.finditer(statement):
        if match.lastgroup in ("string", "quoted"):
            tokens.append(match[0][0])
        elif match.lastgroup is not None:
            tokens.append(match[0].upper())
    return _CONCURRENT.fullmatch(" ".join(tokens).rstrip(" ;")) is not None


OWN = {"sets_timeouts": True}
"""Execution options of the statement that sets the timeouts, to which none apply."""


class Timeouts:
    """Sets ``lock_timeout`` and ``statement_timeout`` if the next statement needs others."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Take a function that returns the current settings: each revision may have its own."""
        self._settings = settings
        self._current: dict[str, int] = {}
        self.lock_timeout = 0
        """The timeouts of the last statement, in milliseconds."""

    def set_for(self, connection: Connection, concurrent: bool) -> None:
        """Set the timeouts for the next statement."""
        settings = self._settings()
        self.lock_timeout = (
            settings.concurrent_lock_timeout if concurrent else settings.lock_timeout
        )
        values = {
            "lock_timeout": self.lock_timeout,
            "statement_timeout": settings.statement_timeout,
        }
        if values != self._current:
            connection.execute(
                select(*(func.set_config(name, f"{ms}ms", False) for name, ms in values.items())),
                execution_options=OWN,
            )
            self._current = values

    def forget(self) -> None:
        """Set them again before the next statement: the last transaction may have changed them."""
        self._current = {}


@contextmanager
def limits(connection: Connection, timeouts: Timeouts, hold: Hold) -> Iterator[None]:
    """Apply the timeouts to each statement of a connection, and the limit to each transaction."""

    def before(
        connection: Connection, cursor: Any, statement: str, _: object, context: Any, __: bool
    ) -> None:
        if OWN.keys() <= context.execution_options.keys():
            return
        begins = _is_idle(cursor)
        concurrent = begins and cursor.connection.autocommit and is_concurrent(statement)
        timeouts.set_for(connection, concurrent)
        hold.before_statement(begins=begins, concurrent=concurrent)

    def after(connection: Connection, cursor: Any, *_: object) -> None:
        if _is_idle(cursor):
            hold.after_lone_statement()

    def commit(connection: Connection) -> None:
        try:
            hold.before_commit()
        except HeldTooLongError:
            # SQLAlchemy considers the transaction ended, and would commit it with the next one.
            connection.connection.rollback()
            raise
        timeouts.forget()

    def rollback(connection: Connection) -> None:
        hold.before_rollback()
        timeouts.forget()

    listeners: dict[str, Callable[..., None]] = {
        "before_cursor_execute": before,
        "after_cursor_execute": after,
        "commit": commit,
        "rollback": rollback,
    }
    for name, listener in listeners.items():
        event.listen(connection, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(connection, name, listener)


def _is_idle(cursor: Any) -> bool:
    """Return whether the connection of a psycopg cursor is outside a transaction."""
    return bool(cursor.connection.info.transaction_status.name == "IDLE")
