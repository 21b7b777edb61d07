"""The wording of database errors."""

import re

from sqlalchemy.exc import DBAPIError

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"

EXISTS = (
    "Use an empty database, or, if this one has everything that a revision creates, record that"
    " with `alembic stamp REVISION`."
)
ADVICE = {
    "25006": "Transactions are read-only here: see default_transaction_read_only, which ALTER"
    " DATABASE, ALTER ROLE or the server's configuration set.",
    "42501": "Migrate as the role that owns the tables; or, in an empty database, as one with the"
    " CREATE privilege: GRANT CREATE, USAGE ON SCHEMA public.",
    "42P07": f"It exists already, but was not created by these migrations. {EXISTS}",
    "57014": "See statement_timeout; run it again with a longer one, such as"
    " `-x statement_timeout=10min`.",
}
"""What to do about a SQLSTATE. Source: PostgreSQL docs, "PostgreSQL Error Codes"."""

ROW_SECURITY = "row-level security"
"""In PostgreSQL's message, with ``row_security = off``, when a policy hides rows."""
BYPASS_ROW_SECURITY = (
    "It hides rows from this role, which needs BYPASSRLS: ALTER ROLE ... BYPASSRLS."
)

STANDBY = "This server is a standby: point DATABASE_URL at the primary."

TEMPORARY = {
    "the database system is": "It is starting, stopping or recovering: run this again when it is"
    " up.",
    "too many clients|too many connections|connection slots": "All connections that it allows are"
    " in use: run this again, or see max_connections and the role's CONNECTION LIMIT.",
    "Is the server running": "Check that it is up, and host and port in DATABASE_URL.",
}
"""What to do if a server cannot be connected to for now, by a part of the message.

57P03, 53300 and a refused port: libpq gives no SQLSTATE for a connection that failed.
"""


PERMANENT = "Check DATABASE_URL (user, password, host, port, database, sslmode)."


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE of an error, or None where the server did not send it."""
    return getattr(error.orig, "sqlstate", None)


def reason(error: DBAPIError, *, on_standby: bool = False) -> str:
    """Return one line that states what happened and what to do about it."""
    what = " ".join(str(error.orig).split()).removeprefix("connection failed: ")
    if error.connection_invalidated:
        advice = "The connection broke and what was not committed is undone: run it again."
    elif on_standby and sqlstate(error) == "25006":
        advice = STANDBY
    elif ROW_SECURITY in what:
        advice = BYPASS_ROW_SECURITY
    else:
        advice = ADVICE.get(sqlstate(error) or "", "")
    end = "" if what.endswith((".", "?")) else "."
    return f"{what}{end} {advice}".strip()


def not_connected(error: DBAPIError) -> tuple[str, bool]:
    """Return one line on why a connection failed and what to do, and whether to try again."""
    what = reason(error)
    advice = [advice for text, advice in TEMPORARY.items() if re.search(text, what)]
    return f"Cannot connect to the database: {what} {[*advice, PERMANENT][0]}", bool(advice)
