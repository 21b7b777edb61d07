"""The settings of the migrating session, which a revision must not change for the next one.

Custom ones, such as ``myapp.tenant``, are not listed by PostgreSQL, and remain.
"""

from sqlalchemy import Connection, func, select, text

# Those that were set by SQL, with the role, which pg_settings does not list.
_CHANGED = text(
    "SELECT name, setting FROM pg_settings WHERE source = 'session'"
    " UNION ALL VALUES ('role', current_setting('role'))"
)
_DEFAULT = text("SELECT reset_val FROM pg_settings WHERE name = :name")


def settings_of(connection: Connection) -> dict[str, str]:
    """Return the settings of the session that SQL has changed."""
    return {row.name: row.setting for row in connection.execute(_CHANGED)}


def restore(connection: Connection, earlier: dict[str, str]) -> bool:
    """Set what has changed to its earlier value; return whether anything had changed."""
    changed = settings_of(connection).items() ^ earlier.items()
    for name in sorted({name for name, _ in changed}):
        value = earlier.get(name) or connection.scalar(_DEFAULT, {"name": name})
        connection.execute(select(func.set_config(name, value, False)))
    return bool(changed)
