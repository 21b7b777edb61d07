"""The rules for revisions on a database that serves traffic, applied to observed effects.

Each rule has a name, with which the docstring of a revision can declare an exception:
``Accepts: scan-under-lock on users, since it has ten rows.``
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trading_bot_schema.docstrings import Acceptance, acceptances, strongest
from verification.observation import STRONG, Observation, Statement
from verification.project import Project

MAINTENANCE = "SHARE UPDATE EXCLUSIVE"
"""The lock of VALIDATE CONSTRAINT and similar, which blocks neither reads nor writes."""
RULES = (
    "scan-under-lock",
    "rewrite-under-lock",
    "scan-before-lock",
    "second-table",
    "every-row",
    "rows-under-lock",
    "validate-with-add",
    "run-again",
    "drop-or-rename",
    "timeout",
)

TWO_REVISIONS = "Split it into two revisions."
# By the form of a statement: the section of the guide with the safe form, and its summary.
SAFE_FORMS = [
    (
        r"CREATE (UNIQUE )?INDEX|REINDEX|CLUSTER",
        ("Add an index", "build it CONCURRENTLY, in autocommit_block()"),
    ),
    (
        r"FOREIGN KEY|REFERENCES",
        (
            "Add a foreign key",
            "add it NOT VALID in a revision of its own, VALIDATE it in the next",
        ),
    ),
    (
        r"\b(UNIQUE|PRIMARY KEY)\b",
        (
            "Add a unique constraint",
            "build a unique index CONCURRENTLY, then add the constraint USING INDEX",
        ),
    ),
    (
        r"SET NOT NULL|ADD( CONSTRAINT \S+)? NOT NULL",
        (
            "Make a column NOT NULL",
            "add a CHECK NOT VALID, and VALIDATE it in a transaction of its own",
        ),
    ),
    (
        r"ADD COLUMN",
        (
            "Make a column NOT NULL",
            "add the column without a default, fill it in batches",
        ),
    ),
    (
        r"\bCHECK\b|VALIDATE",
        (
            "Add or change a CHECK",
            "add it NOT VALID, and VALIDATE it in a transaction of its own",
        ),
    ),
    (
        r"ALTER (COLUMN )?\S+ (SET DATA )?TYPE",
        (
            "Change a column's name or type",
            "add a column of the new type, fill it in batches, drop the old one later",
        ),
    ),
    (
        r"DROP TABLE",
        ("Drop a table", "drop its foreign keys first, each in a revision of its own"),
    ),
    (
        r"^\s*(UPDATE|DELETE|INSERT|MERGE|TRUNCATE|WITH|DO)\b",
        (
            "Change many rows",
            "in batches of some thousands, each committed by autocommit_block(), in a revision of"
            " its own",
        ),
    ),
]
ANY_FORM = ("Dangerous operations, and the safe form of each", "split it into revisions")


@dataclass(frozen=True)
class Violation:
    """A rule that a revision breaks."""

    rule: str
    tables: frozenset[str]
    message: str


def violations(observation: Observation) -> list[Violation]:
    """Return the rules that a revision breaks, each with the statement and the safe form."""
    violations = [*_timeouts(observation)]
    for statements in observation.transactions:
        violations += _under_locks(observation, statements)
        violations += _changed_rows(observation, statements)
    for name, changes in observation.removed.items():
        violations.append(
            Violation(
                "drop-or-rename",
                frozenset({name} & observation.rows.keys()),
                f"{', '.join(changes)}, which code that runs during the deployment may use. Safe:"
                " first deploy code that does not. Then drop it in a later release, with a line"
                " such as “Accepts: drop-or-rename on …, since release 2 does not use it.” See"
                " “Drop a column” and “Change a column's name or type” in"
                f" {observation.project.guide_name}.",
            )
        )
    return violations


def unexcused(docstring: str, violations: list[Violation]) -> Iterator[str]:
    """Yield the messages without the docstring's exceptions, and the unused exceptions."""
    exceptions = acceptances(docstring)
    for violation in violations:
        if not any(_excuses(exception, violation) for exception in exceptions):
            yield f"[{violation.rule}] {violation.message}"
    for exception in exceptions:
        if not any(_excuses(exception, violation) for violation in violations):
            hint = "" if exception.rule in RULES else f" The rules are: {', '.join(RULES)}."
            yield (
                f"[{exception.rule}] The docstring accepts a violation that the revision does not"
                f" have. Delete this from its line Accepts:.{hint}"
            )


def _excuses(exception: Acceptance, violation: Violation) -> bool:
    return exception.rule == violation.rule and violation.tables <= {*exception.tables}


def _under_locks(observation: Observation, statements: list[Statement]) -> Iterator[Violation]:
    """Check the effects of a transaction while it holds locks that block queries."""
    held: dict[str, str] = {}
    added: set[int] = set()
    maintained: set[str] = set()
    scans: dict[str, Statement] = {}
    for statement in statements:
        requested = {
            table: lock
            for table, lock in _strong(statement).items()
            if table not in held or strongest([lock, held[table]]) != held[table]
        }
        yield from _second_table(observation, statement, held, requested)
        if requested and scans:
            yield Violation(
                "scan-before-lock",
                frozenset(scans),
                f"{statement.short}: requests {_named(requested)}, after"
                f" {'; '.join(s.short for s in scans.values())} has read all rows of"
                f" {' and '.join(scans)}. If the lock is not available at once, the scan is"
                f" repeated at each attempt. {TWO_REVISIONS}"
                f" {safe_form(statement.sql, observation.project)}",
            )
        held |= requested
        maintained |= {t for t, locks in statement.locks.items() if MAINTENANCE in locks}
        if not held:
            scans |= dict.fromkeys(statement.read & maintained, statement)
        validated = {t for oid, t in statement.validated.items() if oid in added}
        added |= statement.added_unvalidated
        for table in sorted(validated):
            yield Violation(
                "validate-with-add",
                frozenset({table}),
                f"{statement.short}: validates a constraint in the transaction that added it, so"
                f" all rows of {table} are read under {_named(held)}."
                f" {safe_form(statement.sql, observation.project)}",
            )
        for rule, effect, tables in (
            ("scan-under-lock", "reads all rows of", statement.read - statement.rewritten),
            ("rewrite-under-lock", "rewrites", statement.rewritten),
        ):
            for table in sorted(tables - validated) if held else ():
                yield Violation(
                    rule,
                    frozenset({table}),
                    f"{statement.short}: {effect} {table} under {_named(held)}."
                    f" {safe_form(statement.sql, observation.project)}",
                )


def _second_table(
    observation: Observation, statement: Statement, held: dict[str, str], requested: dict[str, str]
) -> Iterator[Violation]:
    both_ends = not held and frozenset(requested) in observation.foreign_keys
    for table in sorted(requested):
        others = {
            other: lock
            for other, lock in (requested | held).items()
            if other != table
            and "ACCESS EXCLUSIVE" in (lock, requested[table])
            # If one statement locks two tables, one of them counts as the second.
            and (other in held or other < table)
        }
        if others and not both_ends:
            yield Violation(
                "second-table",
                frozenset({table, *others}),
                f"{statement.short}: requests {requested[table]} on {table} while the transaction"
                f" holds {_named(others)} for as long as it waits. {TWO_REVISIONS}"
                f" {safe_form(statement.sql, observation.project)}",
            )


def _changed_rows(observation: Observation, statements: list[Statement]) -> Iterator[Violation]:
    locks: dict[str, str] = {}
    for statement in statements:
        for table, lock in _strong(statement).items():
            locks[table] = strongest([lock, locks.get(table, lock)])
    for table, rows in observation.rows.items():
        changing = [s for s in statements if s.changed[table] or table in s.emptied]
        if not changing:
            continue
        largest = max(changing, key=lambda s: s.changed[table])
        changed = sum(s.changed_at_once[table] for s in changing)
        if changed > rows / 2 or any(table in s.emptied for s in changing):
            yield Violation(
                "every-row",
                frozenset({table}),
                f"{largest.short}: changes every row of {table} in one transaction, or every row"
                " like one that it changes, under"
                f" {locks.get(table, 'ROW EXCLUSIVE')} on {table}; each row stays locked until its"
                f" end. {safe_form(largest.sql, observation.project)}",
            )
        elif locks:
            yield Violation(
                "rows-under-lock",
                frozenset({table}),
                f"{largest.short}: changes rows of {table} in the transaction that holds"
                f" {_named(locks)}. {TWO_REVISIONS} {safe_form(largest.sql, observation.project)}",
            )


def _timeouts(observation: Observation) -> Iterator[Violation]:
    longest = {"lock_timeout": observation.project.lock_timeout}
    for statement in observation.statements:
        for name, value in statement.timeouts.items():
            if value == 0 or value > longest.get(name, value):
                yield Violation(
                    "timeout",
                    frozenset(),
                    f"{statement.short}: sets {name} to {f'{value} ms' if value else 'no limit'}."
                    " A revision that needs other timeouts declares them next to `revision`, where"
                    ' -x overrides them: timeouts = {"lock_timeout": "10s"}.'
                    f" See “Timeouts of one revision” in {observation.project.guide_name}.",
                )


def _strong(statement: Statement) -> dict[str, str]:
    locks = {table: strongest(modes) for table, modes in statement.locks.items()}
    return {table: lock for table, lock in locks.items() if lock in STRONG}


def _named(locks: dict[str, str]) -> str:
    """Return the text for locks, and the kind of queries that they block."""
    names = " and ".join(f"{lock} on {table}" for table, lock in sorted(locks.items()))
    reads = "reads and writes" if "ACCESS EXCLUSIVE" in locks.values() else "writes"
    return f"{names}, which block{'s' if len(locks) == 1 else ''} {reads}"


def safe_form(sql: str, project: Project) -> str:
    """Return the safe form of a statement."""
    section, summary = next(
        (form for pattern, form in SAFE_FORMS if re.search(pattern, sql, re.IGNORECASE)), ANY_FORM
    )
    return f"Safe: {summary}. See “{section}” in {project.guide_name}."
