"""Reads the declarations in the docstring of a revision: ``Why``, ``Locks``, ``Downgrade``.

docs/recipes.md describes the lines. An operator reads them before a deployment, and the test
suite compares them with what the revision does.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alembic.script import Script

LOCKS = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""PostgreSQL's locks on tables, the weakest first.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

_LINE = re.compile(r"^([A-Z][a-z]*(?: [a-z]+)*): +", re.MULTILINE)
# A full stop ends what a line declares; the rest of the line is prose.
_END = re.compile(r"\.(?:\s|\Z)")
_TABLE = r'(?:[\w.$]|"[^"]+")+'
_TABLES = rf"{_TABLE}(?:(?:, {_TABLE})* and {_TABLE})?"
_LOCK = re.compile(rf"(?P<lock>[A-Z ]+) on (?P<tables>{_TABLES})(?P<text>(?:[,:].*)?)")
_ACCEPTANCE = re.compile(
    rf"(?P<rule>[a-z-]+)(?: on (?P<tables>{_TABLES}))?,? (?:since|because) (?P<reason>.+)"
)


class DocstringError(ValueError):
    """A line is not in the form that docs/recipes.md describes. The message names it."""


@dataclass(frozen=True)
class DeclaredLock:
    """One part of a line ``Locks:``, such as ``ACCESS EXCLUSIVE on trades, for milliseconds``.

    Attributes:
        lock: One of :data:`LOCKS`.
        text: The text after the tables: for how long, and what happens meanwhile.
    """

    lock: str
    tables: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Acceptance:
    """One part of a line ``Accepts:``: a rule that the revision breaks, and why it may."""

    rule: str
    tables: tuple[str, ...]
    reason: str


def of(revision: Script) -> str:
    """Return the docstring of a revision, as its file has it; empty: it has none.

    Not ``revision.longdoc``, which is empty with ``PYTHONOPTIMIZE=2``.
    """
    try:
        return ast.get_docstring(ast.parse(inspect.getsource(revision.module))) or ""
    except OSError:  # There is only a compiled file.
        return revision.module.__doc__ or ""


def lines(docstring: str) -> Iterator[tuple[str, str]]:
    """Split a docstring into its lines, such as ``("Locks", "none.")``, each on one line.

    A line continues until the next one, or an empty one. ``Upgrade`` may occur more than once.
    """
    for paragraph in re.split(r"\n\s*\n", docstring):
        _, *parts = _LINE.split(paragraph)
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            yield heading, " ".join(text.split())


def line(docstring: str, heading: str) -> str | None:
    """Return the text of a line, or None if there is no such line.

    Raises:
        DocstringError: There are several.
    """
    texts = [text for name, text in lines(docstring) if name == heading]
    if len(texts) > 1:
        raise DocstringError(f"the line '{heading}:' is repeated: keep the right one.")
    return texts[0] if texts else None


def names(docstring: str, heading: str, verb: str) -> set[str]:
    """Return the tables and columns that lines such as ``Downgrade: loses a.b, c.`` name."""
    declared: set[str] = set()
    for name, text in lines(docstring):
        if name == heading and text.startswith(f"{verb} "):
            listed = _END.split(text.removeprefix(f"{verb} "))[0]
            declared |= set(re.split(r",\s*(?:and )?| and ", listed))
    return declared


def losses(docstring: str) -> set[str]:
    """Read the line ``Downgrade:``; return the tables and columns that a downgrade loses.

    Raises:
        DocstringError: It is missing or in another form.
    """
    text = line(docstring, "Downgrade")
    if text is None:
        raise DocstringError("There is no line 'Downgrade:'.")
    declared = names(docstring, "Downgrade", "loses")
    known = all(re.fullmatch(r"\w+(?:\.\w+)?", name) for name in declared)
    if not known or not (declared or _END.split(text)[0] == "keeps all data"):
        raise DocstringError(
            f"{text!r} is not of the form 'keeps all data.' or 'loses trades.note, orders.'"
        )
    return declared


def unwritten(docstring: str) -> frozenset[str]:
    """Read the line ``Unwritten:``; return the columns that no code in operation writes yet."""
    text = line(docstring, "Unwritten")
    return frozenset(_tables(_END.split(text)[0]) if text else ())


def locks(text: str) -> list[DeclaredLock]:
    """Read the text of a line ``Locks:`` or ``Downgrade locks:``.

    Raises:
        DocstringError: It is in another form.
    """
    declared = _END.split(text)[0].strip()
    if declared == "none":
        return []
    return [_lock(part) for part in re.split(r";\s*", declared)]


def _lock(part: str) -> DeclaredLock:
    match = _LOCK.fullmatch(part)
    if match is None or match["lock"] not in LOCKS:
        raise DocstringError(
            f"{part!r} is not 'none', or of the form 'ACCESS EXCLUSIVE on trades' with one"
            f" of the locks {', '.join(LOCKS)}."
        )
    return DeclaredLock(match["lock"], _tables(match["tables"]), match["text"].lstrip(",: "))


def acceptances(docstring: str) -> list[Acceptance]:
    """Read the line ``Accepts:``.

    Raises:
        DocstringError: It is in another form, for example without a reason.
    """
    text = line(docstring, "Accepts")
    if text is None:
        return []
    acceptances = []
    for part in re.split(r";\s*", text.removesuffix(".")):
        match = _ACCEPTANCE.fullmatch(part)
        if match is None:
            raise DocstringError(
                f"{part!r} is not of the form 'scan-under-lock on users, since it has ten rows'."
            )
        tables = _tables(match["tables"]) if match["tables"] else ()
        acceptances.append(Acceptance(match["rule"], tables, match["reason"]))
    return acceptances


def _tables(text: str) -> tuple[str, ...]:
    return tuple(re.split(r", | and ", text))


def strongest(locks: Iterable[str]) -> str:
    """Return the strongest of some locks."""
    return max(locks, key=LOCKS.index)


@dataclass(frozen=True)
class OldCode:
    """A line ``Old code:``: how the code of the previous revision runs on the new schema.

    Attributes:
        breaks: What fails until the new code is deployed, such as ``insert into users``.
        fails_once: Tables whose prepared statements fail once on each connection that is open, at
            most.
        slows: Hot queries that have lost an index.
    """

    breaks: frozenset[str] = frozenset()
    fails_once: frozenset[str] = frozenset()
    slows: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return the text of the line."""
        parts = (("breaks", self.breaks), ("fails once", self.fails_once), ("slows", self.slows))
        effects = [f"{verb}: {', '.join(sorted(names))}" for verb, names in parts if names]
        return f"{'; '.join(effects) or 'works'}."


def old_code(docstring: str) -> OldCode:
    """Read the line ``Old code:``.

    Raises:
        DocstringError: It is missing or in another form.
    """
    text = line(docstring, "Old code")
    if text is None:
        raise DocstringError("There is no line 'Old code:'.")
    declared = _END.split(text)[0]
    if declared == "works":
        return OldCode()
    effects = {}
    for part in re.split(r";\s*", declared):
        verb, colon, names = part.partition(": ")
        if not colon or verb not in ("breaks", "fails once", "slows"):
            raise DocstringError(
                f"{part!r} is not of the form 'works', 'breaks: insert into users, select"
                " users.nickname', 'fails once: trades' or 'slows: trades_of_bot'."
            )
        effects[verb.replace(" ", "_")] = frozenset(names.split(", "))
    return OldCode(**effects)
