"""What is guaranteed about each revision: a function for each, which yields what is wrong.

Each takes the databases of a project, which belong to the role that migrates, and a revision; a
failure names what to do.
"""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace

from alembic.script import Script
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from trading_bot_schema.docstrings import DocstringError
from verification import lint, old_code, reading
from verification.agreement import is_reversible_and_the_same_offline
from verification.history import Databases
from verification.observation import unknown_changes
from verification.observed_revision import ObservedRevision
from verification.old_code import line, plans
from verification.round_trip import undeclared
from verification.rows import RowsError
from verification.rules import safe_form

Guarantee = Callable[[Databases, Script], Iterator[str]]


def observed(databases: Databases, script: Script) -> ObservedRevision:
    """Observe a revision, once."""
    revision = ObservedRevision(databases, script)  # which runs nothing yet
    observed: ObservedRevision = databases.observed.setdefault(script, revision)
    return observed


def follows_the_rules_for_code(databases: Databases, script: Script) -> Iterator[str]:
    """Yield what reading decides: docstring, explicit names, dependencies on other code."""
    yield from reading.problems(script)


def passes_squawk(databases: Databases, script: Script) -> Iterator[str]:
    """Yield the findings of the linter squawk in its SQL."""
    yield from lint.findings(databases.project, script)


def declares_its_locks(databases: Databases, script: Script) -> Iterator[str]:
    """Yield where the docstring is wrong about locks, and reads and rewrites under them."""
    yield from observed(databases, script).wrong_locks()


def breaks_no_rule(databases: Databases, script: Script) -> Iterator[str]:
    """Yield the rules for live databases that it breaks, also when it is run again."""
    yield from observed(databases, script).broken_rules()


def preserves_rows(databases: Databases, script: Script) -> Iterator[str]:
    """Yield what it does to rows, up and down, and does not declare."""
    upgrade = observed(databases, script).upgrade
    yield from undeclared(databases, script, upgrade)
    refusal = databases.refusals.get(script)
    hint = f" It fails on other rows, which are left out: {refusal}." if refusal else ""
    yield from (f"{unknown}{hint}" for unknown in unknown_changes(upgrade))


def leaves_old_code_working(databases: Databases, script: Script) -> Iterator[str]:
    """Yield where the docstring is wrong about the code of the previous revision."""
    outcome = old_code.of_revision(databases, script)
    outcome = replace(outcome, slows=plans.slowed_by(databases, script))
    if line.declared(script.longdoc) != outcome:
        yield line.advice(outcome)


GUARANTEES: tuple[Guarantee, ...] = (
    follows_the_rules_for_code,
    passes_squawk,
    is_reversible_and_the_same_offline,
    declares_its_locks,
    breaks_no_rule,
    preserves_rows,
    leaves_old_code_working,
)
"""In the order in which a contributor should read their failures."""
MEASURED = (declares_its_locks, preserves_rows, leaves_old_code_working)
"""Those that measure lines of the docstring."""


def problems(guarantee: Guarantee, databases: Databases, script: Script) -> list[str]:
    """Return what a guarantee yields, or why this revision, or one before it, cannot run."""
    try:
        return list(guarantee(databases, script))
    except DocstringError as error:
        return [str(error)]
    except RowsError as error:
        sql = " ".join((getattr(error.__cause__, "statement", None) or "").split())
        alters = sql.startswith("ALTER TABLE")
        return [f"{error} {safe_form(sql, databases.project) if alters else sql}".strip()]
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{guarantee.__name__}(), at {last.filename}:{last.lineno}"
        what = getattr(error, "__notes__", [where])[-1]  # by Project
        reason, statement = f"{type(error).__name__}: {error}", ""
        if isinstance(error, DBAPIError):
            reason = str(error.orig).partition("\n")[0]
            statement = " ".join((error.statement or "").split())[:120]
            if isinstance(error, (DataError, IntegrityError)):
                reason += ". Tables may have such rows: resolve them before, or in the statement"
            if isinstance(error.orig, QueryCanceled):
                reason += " (does its loop end?)"
        return [" ".join(f"{what}: {reason}. {statement}".split())]
