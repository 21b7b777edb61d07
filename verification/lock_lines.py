"""Compares the lines ``Locks:`` and ``Downgrade locks:`` of a docstring with the locks observed.

docs/recipes.md describes the form, and what has to be declared.
"""

import re
from collections.abc import Collection, Iterable
from textwrap import fill

from trading_bot_schema.docstrings import LOCKS, DeclaredLock, DocstringError, line, locks
from verification.observation import Observation, TakenLock, locks_taken

WIDTH = 99
# Weaker locks only conflict with other revisions.
DECLARED = LOCKS[LOCKS.index("ROW EXCLUSIVE") :]
# A statement that changes rows has to read some.
READS_DECLARED = LOCKS[LOCKS.index("SHARE UPDATE EXCLUSIVE") :]

NEGATED = re.compile(r"\b(?:no|not|none|nothing|never|without|neither|nor)\b")
READS = re.compile(r"\brows (?:are|is|being) read|\breads? (?:all|every|each|its|the)\b|\bscan")
# Phrases that may refer to a scan, or to something else.
MAY_MEAN_READS = re.compile(READS.pattern + r"|\bread|\bbuil[dt]|\bvalidat|\bcheck")
REWRITES = re.compile(r"\brewr(?:ite|itten|ote)")

READS_TEXT = "while its rows are read"
REWRITES_TEXT = "while it is rewritten"
MILLISECONDS = "for milliseconds"


def named_locks(observation: Observation) -> str:
    """Return the locks that a docstring should declare: the text after ``Locks:``."""
    return _all_named(_required(locks_taken(observation)))


def upgrade_line(observation: Observation) -> str:
    """Return the line ``Locks:`` that a docstring should have."""
    return _line("Locks", _required(locks_taken(observation)))


def downgrade_line(observation: Observation, dropped: Collection[str]) -> str:
    """Return the line ``Downgrade locks:``, without the tables that the downgrade drops."""
    taken = {taken for taken in locks_taken(observation) if taken.table not in dropped}
    return _line("Downgrade locks", _required(taken))


def check_upgrade(docstring: str, observation: Observation) -> str:
    """Return the errors in the line ``Locks:``, with the line to paste; empty: none."""
    text = line(docstring, "Locks")
    if text is None:
        errors = "The docstring has no line Locks:."
    else:
        errors = _compare(text, locks_taken(observation))
    return _paste(errors, "Locks", _required(locks_taken(observation)))


def check_downgrade(docstring: str, observation: Observation, dropped: Collection[str]) -> str:
    """Return the errors in the docstring's lines about the locks of the downgrade.

    Without a line ``Downgrade locks:``, it must do no more than ``Locks:`` declares. A table that
    the downgrade drops, as declared by ``Downgrade: loses``, need not be named.
    """
    taken = {taken for taken in locks_taken(observation) if taken.table not in dropped}
    text = line(docstring, "Downgrade locks")
    if text is not None:
        errors = _compare(text, taken, {*locks_taken(observation)})
    else:
        try:
            declared = locks(line(docstring, "Locks") or "none")
        except DocstringError:
            return ""  # reported by check_upgrade()
        errors = "\n".join(
            f"The downgrade takes {_named(lock)}, which is more than Locks: declares."
            for lock in _required(taken)
            if not any(_covers(one, lock) for one in declared)
        )
    return _paste(errors, "Downgrade locks", _required(taken))


def _covers(declared: DeclaredLock, taken: TakenLock) -> bool:
    return (
        taken.table in declared.tables
        and LOCKS.index(declared.lock) >= LOCKS.index(taken.lock)
        and (not _reads(taken) or _matches(MAY_MEAN_READS, declared.text))
        and (not taken.rewrites or _matches(REWRITES, declared.text))
    )


def _compare(text: str, taken: Iterable[TakenLock], allowed: Iterable[TakenLock] = ()) -> str:
    taken = set(taken)
    try:
        declared = locks(text)
    except DocstringError as error:
        return str(error)
    texts_of: dict[tuple[str, str], list[str]] = {}
    for part in declared:
        for table in part.tables:
            texts_of.setdefault((table, part.lock), []).append(part.text)
    errors = []
    for lock in _required(taken):
        texts = texts_of.get((lock.table, lock.lock))
        if texts is None:
            errors.append(f"It takes {_named(lock)}, which the docstring does not declare.")
        elif _reads(lock) and not any(_matches(MAY_MEAN_READS, text) for text in texts):
            errors.append(
                f"All rows of {lock.table} are read under {lock.lock}, which the docstring does"
                " not declare."
            )
        elif lock.rewrites and not any(_matches(REWRITES, text) for text in texts):
            errors.append(
                f"{lock.table} is rewritten under {lock.lock}, which the docstring does not"
                " declare."
            )
    permitted = {(lock.table, lock.lock): lock for lock in {*taken, *allowed}}
    for (table, name), texts in texts_of.items():
        if (table, name) not in permitted:
            errors.append(f"The docstring declares {name} on {table}, which is not taken.")
            continue
        if not permitted[table, name].reads and any(_matches(READS, text) for text in texts):
            errors.append(f"The docstring declares that rows of {table} are read; they are not.")
        if not permitted[table, name].rewrites and any(_matches(REWRITES, text) for text in texts):
            errors.append(f"The docstring declares that {table} is rewritten; it is not.")
    return "\n".join(errors)


def _required(taken: Iterable[TakenLock]) -> list[TakenLock]:
    """Return what has to be declared: the strongest lock on each table, and scans."""
    taken = [lock for lock in taken if lock.lock in DECLARED]
    strongest = {
        table: max((lock for lock in taken if lock.table == table), key=_strength)
        for table in {lock.table for lock in taken}
    }
    chosen = {*strongest.values(), *(lock for lock in taken if _reads(lock) or lock.rewrites)}
    return sorted(chosen, key=lambda lock: (-_strength(lock), lock.table))


def _strength(lock: TakenLock) -> int:
    return LOCKS.index(lock.lock)


def _reads(lock: TakenLock) -> bool:
    return lock.reads and not lock.rewrites and lock.lock in READS_DECLARED


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    return any(
        pattern.search(phrase) and not NEGATED.search(phrase) for phrase in re.split(r"[,:]", text)
    )


def _all_named(taken: list[TakenLock]) -> str:
    """Return the text for locks, with the tables of the same lock together."""
    tables: dict[tuple[str, str], list[str]] = {}
    for lock in taken:
        tables.setdefault((lock.lock, _text(lock)), []).append(lock.table)
    parts = []
    for (name, text), (*others, last) in tables.items():
        first = f"{', '.join(others)} and " if others else ""
        parts.append(f"{name} on {first}{last}, {text}")
    return "; ".join(parts) or "none"


def _named(lock: TakenLock) -> str:
    return _all_named([lock])


def _text(lock: TakenLock) -> str:
    if lock.rewrites:
        return REWRITES_TEXT
    if _reads(lock):
        return READS_TEXT
    return "while rows change" if lock.lock == "ROW EXCLUSIVE" else MILLISECONDS


def _line(heading: str, taken: list[TakenLock]) -> str:
    return fill(f"{heading}: {_all_named(taken)}.", WIDTH, break_on_hyphens=False)


def _paste(errors: str, heading: str, taken: list[TakenLock]) -> str:
    return f"{errors}\nThe docstring should have:\n\n{_line(heading, taken)}" if errors else ""
