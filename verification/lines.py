"""Writes the measured lines of a revision's docstring: Locks, Downgrade locks and Old code."""

import re
from dataclasses import replace
from pathlib import Path

from alembic.script import Script

from trading_bot_schema.docstrings import line as declared
from trading_bot_schema.docstrings import names
from verification import old_code
from verification.guarantees import observed
from verification.history import Databases
from verification.lock_lines import check_downgrade, correct_line
from verification.observed_revision import ObservedRevision
from verification.old_code import line, plans

NEXT = re.compile(r"^(?=Downgrade: |\nRevision ID: )", re.MULTILINE)


def is_missing(script: Script, heading: str) -> bool:
    """Return whether a revision lacks a line, or has the template's."""
    return (declared(script.longdoc, heading) or "<").startswith("<")


def write(databases: Databases, script: Script) -> list[str]:
    """Write the lines that a revision lacks into its file, and return them."""
    lines = []
    if is_missing(script, "Locks"):
        lines += lines_on_locks(observed(databases, script))
    if is_missing(script, "Old code"):
        outcome = old_code.of_revision(databases, script)
        lines.append(line.text(replace(outcome, slows=plans.slowed_by(databases, script))))
    if lines:
        path = Path(script.path)
        path.write_text(with_lines(path.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return lines


def lines_on_locks(revision: ObservedRevision) -> list[str]:
    """Return the lines on locks that a docstring should have."""
    lines = [correct_line("Locks", revision.upgrade)]
    dropped = names(revision.docstring, "Downgrade", "loses")
    if check_downgrade(f"{lines[0]}\n", revision.downgrade, dropped):
        lines.append(correct_line("Downgrade locks", revision.downgrade, dropped))
    return lines


def with_lines(source: str, lines: list[str]) -> str:
    """Return the source of a revision with lines in its docstring, instead of the template's."""
    for text in lines:
        placeholder = rf"^{text.partition(':')[0]}: <[^>]*>\n"
        source = re.sub(placeholder, "", source, count=1, flags=re.MULTILINE)
    return NEXT.sub("".join(f"{text}\n" for text in lines), source, count=1)
