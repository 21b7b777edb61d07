"""Compares the lines ``Locks:`` and ``Downgrade locks:`` of a docstring with the locks observed.

docs/recipes.md describes the form, and what has to be declared.
"""

from trading_bot_schema.docstrings import LOCKS, DocstringError, line, locks
from verification.lines import WrongLine
from verification.observation import Observation, TakenLock, locks_taken

# Weaker locks only conflict with other revisions.
DECLARED = LOCKS[LOCKS.index("ROW EXCLUSIVE") :]
# A statement that changes rows has to read some.
READS_DECLARED = LOCKS[LOCKS.index("SHARE UPDATE EXCLUSIVE") :]

READS = ("while its rows are read", "while their rows are read")
REWRITES = ("while it is rewritten", "while they are rewritten")
CHANGES = "while rows change"
BRIEFLY = "for milliseconds"


def check_upgrade(docstring: str, observation: Observation) -> list[WrongLine]:
    """Return what is wrong with the line ``Locks:``, with the line to paste."""
    return _compare(docstring, "Locks", _required(observation))


def check_downgrade(docstring: str, observation: Observation) -> list[WrongLine]:
    """Return what is wrong with the docstring's lines about the locks of the downgrade.

    Without a line ``Downgrade locks:``, it must do no more than ``Locks:`` declares. A table that
    the downgrade drops is not named.
    """
    required = [
        lock
        for lock in _required(observation)
        if f"drops {lock.table}" not in observation.removed.get(lock.table, ())
    ]
    try:
        if line(docstring, "Downgrade locks") is None:
            declared = _declared(line(docstring, "Locks") or "none")
            if all(any(_covers(each, lock) for each in declared) for lock in required):
                return []
    except DocstringError:
        pass  # reported below, and by check_upgrade()
    return _compare(docstring, "Downgrade locks", required)


def _declared(text: str) -> set[TakenLock]:
    """Read the text of a line: locks on tables, and what happens under them."""
    return {
        TakenLock(table, part.lock, part.text in READS, part.text in REWRITES)
        for part in locks(text)
        for table in part.tables
    }


def _covers(declared: TakenLock, taken: TakenLock) -> bool:
    return (
        declared.table == taken.table
        and LOCKS.index(declared.lock) >= LOCKS.index(taken.lock)
        and (declared.reads or not taken.reads)
        and (declared.rewrites or not taken.rewrites)
    )


def _compare(docstring: str, heading: str, required: list[TakenLock]) -> list[WrongLine]:
    try:
        text = line(docstring, heading)
        if text is not None and _declared(text) == {*required}:
            return []
        problem = f"The line {heading}: differs from what happens."
        if text is None:
            problem = f"The docstring has no line {heading}:."
    except DocstringError as error:
        problem = str(error)
    return [WrongLine(problem, f"{heading}:", _text(required))]


def _required(observation: Observation) -> list[TakenLock]:
    """Return what has to be declared: the strongest lock on each table, scans and rewrites."""
    strongest: dict[str, TakenLock] = {}
    declared = set()
    for lock in sorted(locks_taken(observation), key=_strength):
        if lock.lock in DECLARED:
            reads = lock.reads and not lock.rewrites and lock.lock in READS_DECLARED
            lock = TakenLock(lock.table, lock.lock, reads, lock.rewrites)
            strongest[lock.table] = lock
            declared |= {lock} if lock.reads or lock.rewrites else set()
    chosen = declared.union(strongest.values())
    return sorted(chosen, key=lambda lock: (-_strength(lock), lock.table))


def _strength(lock: TakenLock) -> int:
    return LOCKS.index(lock.lock)


def _text(required: list[TakenLock]) -> str:
    """Return the text for locks, with the tables of the same lock together."""
    tables: dict[str, list[str]] = {}
    for lock in required:
        text = CHANGES if lock.lock == "ROW EXCLUSIVE" else BRIEFLY
        text = REWRITES[0] if lock.rewrites else READS[0] if lock.reads else text
        tables.setdefault(f"{lock.lock} on {{}}, {text}", []).append(lock.table)
    parts = [
        part.format(" and ".join(filter(None, [", ".join(others), last])))
        for part, (*others, last) in tables.items()
    ]
    return f"{'; '.join(parts) or 'none'}."
