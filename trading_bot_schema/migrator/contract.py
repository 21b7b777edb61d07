"""Revisions that break the code of the previous revision, as their docstrings declare."""

import logging
from collections.abc import Sequence
from contextlib import suppress

from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError

from trading_bot_schema.docstrings import DocstringError, of, old_code

log = logging.getLogger("alembic.migrator")


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


def warn(step: RevisionStep) -> None:
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
