"""The lines of a docstring that are measured: how a wrong one is reported, and corrected."""

import re
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Self

WIDTH = 99
ORDER = (
    "Why",
    "Locks",
    "Downgrade locks",
    "Upgrade",
    "Old code",
    "Unwritten",
    "Downgrade",
    "Accepts",
)
_DOCSTRING = re.compile(r'(r?""")(.*?)"""', re.DOTALL)
_PART = re.compile(r"^(?=[A-Z][a-z]*(?: [a-z]+)*: |\n)", re.MULTILINE)


class WrongLine(str):
    """The message that a line is missing, wrong or superfluous, with what to write.

    Attributes:
        start: How it starts, such as ``Upgrade: changes``.
        line: The right one; empty: there should be none.
    """

    start: str
    line: str

    def __new__(cls, problem: str, start: str, text: str | None) -> Self:
        """Take what is wrong, how the line starts, and its right text after that."""
        line = "" if text is None else fill(f"{start} {text}", WIDTH, break_on_hyphens=False)
        advice = f"The docstring should have:\n\n{line}\n" if line else f"Delete “{start} …”."
        self = super().__new__(cls, f"{problem} {advice}")
        self.start, self.line = start, line
        return self


def correct(path: Path, wrong: Iterable[WrongLine]) -> None:
    """Write the right lines into the docstring of a revision."""
    source = path.read_text(encoding="utf-8")
    if not _DOCSTRING.match(source):
        source = f'"""TODO: what it does."""\n\n{source}'
    text = _DOCSTRING.sub(lambda m: f'{m[1]}{corrected(m[2], wrong)}"""', source, count=1)
    path.write_text(text, encoding="utf-8")


def corrected(docstring: str, wrong: Iterable[WrongLine]) -> str:
    """Return a docstring with the right lines; the prose after a corrected one remains."""
    parts = _PART.split(f"{docstring.rstrip()}\n")
    for each in wrong:
        own = [n for n, part in enumerate(parts) if part.startswith(f"{each.start} ")]
        if own:
            prose = " ".join(parts[own[0]].split()).partition(". ")[2]
            parts[own[0]] = f"{fill(f'{each.line} {prose}'.strip(), WIDTH)}\n" * bool(each.line)
            for repeated in own[1:]:
                parts[repeated] = ""
        else:
            earlier = ORDER[: ORDER.index(each.start.partition(":")[0]) + 1]
            after = [n for n, part in enumerate(parts) if part.partition(":")[0] in earlier]
            blank = "" if after else "\n"
            parts.insert(max(after, default=0) + 1, f"{blank}{each.line}\n")
    return "".join(parts)
