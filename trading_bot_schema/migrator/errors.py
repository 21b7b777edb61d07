"""The wording of database errors."""

from sqlalchemy.exc import DBAPIError

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"

ADVICE = {
    "25006": "This server is read-only, perhaps a standby: point DATABASE_URL at the primary.",
    "42501": "Migrate as the role that owns the tables, or grant this one the CREATE privilege:"
    " GRANT CREATE, USAGE ON SCHEMA public.",
    "42P07": "It exists already, but was not created by these migrations: use an empty database,"
    " or, if it has everything that a revision creates, record that with"
    " `alembic stamp REVISION`.",
    "57014": "See statement_timeout; run it again with a longer one, such as"
    " `-x statement_timeout=10min`.",
}
"""What to do about a SQLSTATE. Source: PostgreSQL docs, "PostgreSQL Error Codes"."""


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE of an error, or None where the server did not send it."""
    return getattr(error.orig, "sqlstate", None)


def reason(error: DBAPIError) -> str:
    """Return one line: the error, and what to do about it."""
    what = " ".join(str(error.orig).split()).removeprefix("connection failed: ")
    if error.connection_invalidated:
        advice = "The connection broke and what was not committed is undone: run it again."
    else:
        advice = ADVICE.get(sqlstate(error) or "", "")
    end = "" if what.endswith((".", "?")) else "."
    return f"{what}{end} {advice}".strip()
