"""Checks before the first revision runs: the owner of new tables, and the loss of rows."""

import logging
import shlex
from collections.abc import Sequence

from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, text

from trading_bot_schema.docstrings import DocstringError, losses, of
from trading_bot_schema.migrator.settings import Settings

log = logging.getLogger("alembic.migrator")

# Owner of alembic_version, if its new tables get default privileges that mine do not.
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
_TABLE = text(
    """
    SELECT CAST(CAST(oid AS regclass) AS text), CAST(reltuples AS bigint), row_security_active(oid)
    FROM pg_class
    WHERE relname = :table AND pg_table_is_visible(oid) AND relkind IN ('r', 'p')
    """
)


def check(connection: Connection, steps: Sequence[RevisionStep], settings: Settings) -> None:
    """Check the revisions that a command will run.

    Raises:
        CommandError: The application could not use their tables; or they lose rows, which
            ``settings`` refuse.
    """
    migrations = [step for step in steps if isinstance(step, RevisionStep)]  # or a stamp's
    if migrations:
        _check_owner(connection)
    refuse = settings.lose == "refuse"
    lost = _what_is_lost(connection, migrations, refuse=refuse)
    if not lost:
        return
    if refuse:
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
            f" `-x role={shlex.quote(owner)}`, or with its name in DATABASE_URL."
        )


def _what_is_lost(connection: Connection, steps: Sequence[RevisionStep], *, refuse: bool) -> str:
    """Return what a downgrade loses according to the docstrings, and that holds rows now."""
    lost = {}
    for step in steps:
        if not step.is_downgrade:
            continue
        try:
            declared = losses(of(step.revision))
        except DocstringError as error:
            if refuse:
                lost[f"what revision {step.revision.revision} does not declare"] = str(error)
            continue
        for name in sorted(declared):
            lost[name] = _rows(connection, name.partition(".")[0])
    return ", ".join(f"{name} ({number})" for name, number in lost.items() if number)


def _rows(connection: Connection, table: str) -> str:
    """Estimate the rows of a table; return an empty string if it has none."""
    row = connection.execute(_TABLE, {"table": table}).one_or_none()
    if row is None:
        return "there is no table of that name now"
    name, estimate, hidden = row
    if hidden:
        return "row-level security hides its rows from this role, which needs BYPASSRLS"
    # The name is quoted by the server, and the estimate does not include the latest rows.
    if not connection.scalar(text(f"SELECT EXISTS (SELECT FROM {name})")):  # noqa: S608
        return ""
    return f"about {estimate:,} rows" if estimate > 0 else "some rows"
