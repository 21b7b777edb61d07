"""The sum file of a project: the landed revisions, each with a hash of its code.

The lines are in the order of the history. Missing lines are appended, and none is ever changed.
Two branches that each add a revision append different lines at the same place, which is a conflict
when they are merged.

The hash is SHA-256 over the syntax tree without docstrings and comments, so that the docstring of
a landed revision can be corrected. It is the same on every supported version of Python, unlike
that of :func:`ast.dump`.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from verification.project import Project

COMMAND = "python -m verification seal"
HEADING = "# Revisions that have landed, and the SHA-256 of their code. See CONTRIBUTING.md.\n"


@dataclass(frozen=True)
class Revision:
    """A revision of the history.

    Attributes:
        file: Path relative to the root of the project.
    """

    revision: str
    file: str
    source: str


def history(project: Project) -> list[Revision]:
    """Return the revisions of a project, the oldest first."""
    return [
        Revision(script.revision, project.path(script), Path(script.path).read_text("utf-8"))
        for script in project.history
    ]


def line(revision: Revision) -> str:
    """Return the line of a revision."""
    return f"{revision.revision} {fingerprint(revision.source)}\n"


def fingerprint(source: str) -> str:
    """Return the hash of the code of a revision."""
    return hashlib.sha256("".join(_serialized(ast.parse(source))).encode("ascii")).hexdigest()


def _serialized(value: Any) -> Iterator[str]:
    """Yield a part of a syntax tree as text: the names of nodes, and the non-empty fields.

    Fields that a later version of Python adds, such as ``type_params``, are empty in older code.
    """
    if isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for name, field in ast.iter_fields(value):
            if name == "body" and _has_docstring(value):
                field = field[1:]
            if name == "values" and isinstance(value, ast.JoinedStr):
                # Python 3.12 has empty constants between the parts of some f-strings.
                field = [part for part in field if getattr(part, "value", None) != ""]
            if field is not None and field != []:
                yield f"{name}="
                yield from _serialized(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for element in value:
            yield from _serialized(element)
            yield ","
        yield "]"
    else:
        # Not repr(), whose escapes depend on the version of Unicode.
        yield ascii(value)


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None


def landed(text: str) -> list[tuple[str, str]]:
    """Read the text of the file: revisions and hashes."""
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [(line[0], line[-1]) for line in lines]


def appended(path: str, text: str, history: Sequence[Revision]) -> str:
    """Return the text of the file with the missing lines.

    Raises:
        ValueError: The history does not continue what has landed; the message says where.
    """
    hashes = dict(landed(text))
    missing = [each for each in history if each.revision not in hashes]
    text = (text or HEADING) + "".join(map(line, missing))
    if report := "\n".join(problems(path, text, history)):
        raise ValueError(report)
    return text


def problems(path: str, text: str, history: Sequence[Revision]) -> Iterator[str]:
    """Yield where the history, the oldest first, differs from the file, and what to do."""
    lines = landed(text)
    hashes = dict(lines)
    for revision in history:
        if revision.revision not in hashes:
            yield f"{path} has no line for {revision.file}. Run: {COMMAND}"
        elif hashes[revision.revision] != fingerprint(revision.source):
            yield (
                f"The code of {revision.file} differs from what has landed, and databases have run"
                " that. Undo the change, and add a new revision. If it has not landed yet, delete"
                f" its line in {path} and run: {COMMAND}"
            )
    names = [revision.revision for revision in history]
    for missing in hashes.keys() - set(names):
        yield (
            f"Revision {missing} has landed, and is missing. Restore it. If it has not landed yet,"
            f" delete its line in {path}."
        )
    in_file = [name for name, _ in lines if name in names]
    in_history = [name for name in names if name in hashes]
    for name, expected in zip_longest(in_file, in_history):
        if name != expected:
            yield (
                f"{path} has {name} where the history has {expected}. Nothing comes before a"
                " revision that has landed: put a new one, and its line, after the last."
                if expected
                else f"{path} has {name} twice. Keep the line that has landed."
            )
            return


def seal(project: Project) -> bool:
    """Append the missing lines to the file of a project; return whether there were any.

    Raises:
        ValueError: The history does not continue what has landed; the message says where.
    """
    old = project.sealed.read_text("utf-8") if project.sealed.exists() else ""
    new = appended(_path(project), old, history(project))
    project.sealed.write_text(new, encoding="utf-8")
    return new != old


def known(project: Project) -> set[str]:
    """Return the revisions that are sealed."""
    text = project.sealed.read_text("utf-8") if project.sealed.exists() else ""
    return {revision for revision, _ in landed(text)}


def report(project: Project) -> str:
    """Return where the history differs from the file, and what to do; empty: nowhere."""
    text = project.sealed.read_text("utf-8") if project.sealed.exists() else ""
    return "\n".join(problems(_path(project), text, history(project)))


def _path(project: Project) -> str:
    return str(project.sealed.relative_to(project.root))
