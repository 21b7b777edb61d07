"""What is checked before the first revision runs: who makes the tables, and what is lost."""

import logging
from collections.abc import Sequence

from alembic.runtime.migration import MigrationStep
from alembic.util import CommandError
from sqlalchemy import Connection, text

from trading_bot_schema.docstrings import names
from trading_bot_schema.migrator.settings import Settings

log = logging.getLogger("alembic.migrator")

# Owner of alembic_version, if tables that it makes get privileges that mine do not.
_OWNER = text(
    """
    SELECT rolname
    FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
    WHERE pg_class.oid = to_regclass('alembic_version') AND rolname <> current_user
        AND EXISTS (SELECT FROM pg_default_acl
                    WHERE defaclrole = relowner AND defaclobjtype = 'r'
                        AND defaclnamespace IN (0, relnamespace))
        AND NOT EXISTS (SELECT FROM pg_default_acl JOIN pg_roles AS mine ON mine.oid = defaclrole
                        WHERE mine.rolname = current_user AND defaclobjtype = 'r'
                            AND defaclnamespace IN (0, relnamespace))
    """
)
# Estimates, of tables that hold rows: -1 is a table that was never analysed.
_ROWS = text(
    """
    SELECT oid, relname, reltuples::bigint AS rows
    FROM pg_class WHERE oid = to_regclass(:name) AND relkind IN ('r', 'p')
    """
)


def check(connection: Connection, steps: Sequence[MigrationStep], settings: Settings) -> None:
    """Check the revisions that a command is going to run.

    Raises:
        CommandError: The application could not use their tables; or they lose rows, and
            ``settings`` say that they must not.
    """
    migrations = [step for step in steps if step.info.is_migration]
    if migrations:
        _check_owner(connection)
    lost = _what_is_lost(connection, migrations)
    if not lost:
        return
    if settings.lose == "refuse":
        raise CommandError(
            f"This downgrade loses {lost}, and lose=refuse says that it must not. Nothing is"
            " changed. If it may, run it again with `-x lose=warn`."
        )
    log.warning("This downgrade loses %s.", lost, extra={"event": "loses"})


def _check_owner(connection: Connection) -> None:
    owner = connection.scalar(_OWNER)
    if owner is not None:
        raise CommandError(
            f"alembic_version belongs to the role {owner}, and this is another one, so that the"
            " application would get no privileges on new tables. Migrate as that role: with"
            f" `-x role={owner}`, or with its name in DATABASE_URL."
        )


def _what_is_lost(connection: Connection, steps: Sequence[MigrationStep]) -> str:
    """Name what the docstrings declare as lost by a downgrade and that holds rows, in order."""
    declared = dict.fromkeys(
        name
        for step in steps
        if not step.info.is_upgrade and step.info.up_revision is not None
        for name in names(step.info.up_revision.module.__doc__ or "", "Downgrade", "loses")
    )
    return ", ".join(filter(None, (_rows(connection, name) for name in declared)))
