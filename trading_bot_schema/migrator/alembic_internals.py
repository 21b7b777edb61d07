"""Undocumented parts of Alembic that the migrator uses.

``tests/operations/`` and ``tests/project/test_alembic_internals.py`` fail where a release of
Alembic renames any of it.
"""

from collections.abc import Callable, Iterable
from inspect import isfunction
from types import CodeType
from typing import Any

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory

StepsOfCommand = Callable[..., Iterable[RevisionStep]]


def options(steps: StepsOfCommand, read_only: bool) -> dict[str, Any]:
    """Return options for ``context.configure()`` that replace a command's steps.

    ``fn`` is documented with ``MigrationContext``. ``dont_mutate`` keeps a command from creating
    ``alembic_version``; Alembic gives it to ``alembic check`` only, though ``current`` and
    ``history`` only read as well.
    """
    return {"fn": steps, "dont_mutate": read_only}


def steps_of_command(migration: MigrationContext) -> StepsOfCommand:
    """Return the function that decides which revisions a command runs.

    ``context.configure(fn=...)`` replaces it, but nothing public reads it.
    """
    steps: StepsOfCommand = migration.opts["fn"]
    return steps


def reads_only(migration: MigrationContext) -> bool:
    """Return whether a command only reads, such as ``alembic current`` and ``alembic check``.

    ``context.get_revision_argument()`` is public, but fails for commands without a revision and
    for revisions that do not exist.
    """
    return migration.opts.get("dont_mutate", False) or "destination_rev" not in migration.opts


def upgrades_to_head(migration: MigrationContext, script: ScriptDirectory) -> bool:
    """Return whether the command is ``alembic upgrade head``, or names the head revision.

    ``context.get_revision_argument()`` does not distinguish a downgrade or stamp.
    """
    return migration.opts["fn"].__name__ == "upgrade" and migration.opts.get(
        "destination_rev"
    ) in ("head", "heads", *script.get_heads())


def uses_autocommit_block(step: RevisionStep) -> bool:
    """Return whether a revision, or a function of its file, calls ``autocommit_block()``.

    Without running it: in a transaction of the caller's, ``MigrationContext.autocommit_block()``
    itself fails with an assertion that has no message.
    """
    names = step.migration_fn.__globals__
    pending, seen = [step.migration_fn.__code__], set[CodeType]()
    while pending:
        code = pending.pop()
        seen.add(code)
        called = (names.get(name) for name in code.co_names)
        codes = [function.__code__ for function in called if isfunction(function)]
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        pending += [code for code in codes if code not in seen]
    return any("autocommit_block" in code.co_names for code in seen)


def timeouts_of(step: RevisionStep) -> object:
    """Return ``timeouts`` of a revision's file; stamping runs no revision."""
    revision = getattr(step, "revision", None)
    return {} if revision is None else getattr(revision.module, "timeouts", {})
