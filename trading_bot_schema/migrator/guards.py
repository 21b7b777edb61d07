"""Checks before a revision runs: owner of new tables, loss of rows, and breakage of old code."""

import logging
import shlex
from collections.abc import Sequence
from contextlib import suppress

from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, text

from trading_bot_schema.docstrings import DocstringError, losses, of, old_code
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
    owner = connection.scalar(_OWNER) if migrations else None
    if owner is not None:
        raise CommandError(
            f"alembic_version belongs to the role {owner}, and this is another one, so that the"
            " application would get no privileges on new tables. Migrate as that role: with"
            f" `-x role={shlex.quote(owner)}`, or with its name in DATABASE_URL."
        )
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
        lost |= {name: _rows(connection, name.partition(".")[0]) for name in sorted(declared)}
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


def before_contract(steps: Sequence[RevisionStep]) -> Sequence[RevisionStep]:
    """Return the steps that run before the first one that breaks old code.

    Raises:
        CommandError: Others follow that break nothing, which the new code may need; or one of
            them does not declare what it breaks.
    """
    try:
        broken = [what_it_breaks(step) for step in steps]
    except DocstringError as error:
        raise CommandError(
            f"{error} So it may break old code, and contract=refuse says that it must not. Nothing"
            " is changed. Correct its docstring; or upgrade with `-x contract=warn` when no old"
            " code runs."
        ) from None
    first = next((number for number, what in enumerate(broken) if what), None)
    if first is None:
        return steps
    what = f"Revision {steps[first].to_revisions[0]} breaks old code: {broken[first]}."
    after = [
        step for step, breaks in zip(steps[first:], broken[first:], strict=True) if not breaks
    ]
    if after:
        raise CommandError(
            f"{what} contract=refuse says to stop before it, but revision"
            f" {after[0].to_revisions[0]} follows, which new code may need. Nothing is changed."
            " Upgrade with `-x contract=warn` when no old code runs."
        )
    log.warning(
        "%s Stopping before it, as contract=refuse says. Upgrade with contract=warn when no old"
        " code runs.",
        what,
        extra={"event": "contract"},
    )
    return steps[:first]


def warn_of_contract(step: RevisionStep) -> None:
    """Log a warning if a step breaks old code."""
    with suppress(DocstringError):
        if what := what_it_breaks(step):
            log.warning(
                "Revision %s breaks old code: %s. That code must not run any more.",
                step.to_revisions[0],
                what,
                extra={"event": "contract"},
            )


def what_it_breaks(step: RevisionStep) -> str:
    """Return what a revision declares that it breaks; empty: nothing.

    Raises:
        DocstringError: It declares nothing that can be read.
    """
    if not isinstance(step, RevisionStep) or not step.is_upgrade:  # or a stamp
        return ""
    try:
        return ", ".join(sorted(old_code(of(step.revision)).breaks))
    except DocstringError as error:
        raise DocstringError(f"Revision {step.revision.revision}: {error}") from None
