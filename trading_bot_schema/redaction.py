"""Keep row values out of error messages and logs.

SQLAlchemy's ``hide_parameters`` hides bound parameters. PostgreSQL and the drivers quote values
too: ``DETAIL: Failing row contains (...)``, ``Key (email)=(...) already exists``,
``invalid input syntax for type integer: "..."``; and SQLAlchemy logs every fetched row at level
DEBUG.
"""

import logging
import re

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

# DETAIL, HINT, CONTEXT, and the LINE of the statement at which the error occurred.
_MORE = re.compile(r"\n.*", re.DOTALL)
# In an error about a value: the value itself.
_VALUE = re.compile(r"""\s*[:"'].*""", re.DOTALL)

_DATA_EXCEPTION = "22"  # class of SQLSTATEs
_SYNTAX_ERROR = "42601"


def hide_values(engine: Engine) -> None:
    """Remove the values of rows from an engine's errors and log records."""
    # No check with event.contains(...): it compares ids, and a new engine may reuse an old one's.
    event.listen(engine, "handle_error", _on_error)
    logger = engine.logger  # wrapped if the engine has echo=True
    (logger if isinstance(logger, logging.Logger) else logger.logger).addFilter(_is_not_a_row)


def _on_error(context: ExceptionContext) -> None:
    if context.statement is None:  # no connection, so no values; keep all lines
        return
    original = context.original_exception
    sqlstate = getattr(original, "sqlstate", None)
    # Without a SQLSTATE, the driver rejected a value, or the connection broke.
    about_a_value = (
        not context.is_disconnect
        if sqlstate is None
        else sqlstate[:2] == _DATA_EXCEPTION or sqlstate == _SYNTAX_ERROR
    )
    for error in filter(None, (context.sqlalchemy_exception, original, original.__cause__)):
        if error.args and isinstance(error.args[0], str):
            text = _MORE.sub("", error.args[0])
            error.args = (_VALUE.sub("", text) if about_a_value else text, *error.args[1:])
        if getattr(error, "detail", None):  # asyncpg's, which its message includes
            error.detail = None  # type: ignore[attr-defined]


def _is_not_a_row(record: logging.LogRecord) -> bool:
    return "Row %r" not in str(record.msg)
