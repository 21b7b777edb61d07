"""The code of a landed revision never changes.

No revision is missing, and none is inserted before a landed one. If two branches each add a
revision, the second merge has a conflict. Docstrings can be corrected.
"""

import io
import re
import subprocess
import tokenize
from contextlib import suppress
from pathlib import Path

import pytest

from tests.verification.project import LIBRARY
from verification.sealed import (
    HEADING,
    Revision,
    appended,
    fingerprint,
    history,
    line,
    problems,
)

PATH = "alembic/versions.sum"
# What makes a token another one.
SUFFIXES = {tokenize.NAME: "_", tokenize.NUMBER: "1", tokenize.STRING: '"."'}
SOURCE = '''"""Add a note.

Why: because.
"""

import sqlalchemy as sa  # as everywhere
from alembic import op

revision = "b"
down_revision = "a"


def upgrade() -> None:
    """Add the column."""
    op.add_column("book", sa.Column("note", sa.Text()))
'''
# Code whose syntax tree differs between versions of Python: new fields, parts of f-strings.
VERSION_DEPENDENT = r"""
def f(a, /, *b: int, c=-0.0, **d) -> None:
    class C(f, x=1): "a docstring alone"
    async def g(): return lambda: [*a, {**d}, {i for i in b if i}]
    match a:
        case {"x": [1, *_]} | None: pass
    return f"{a!r:>{c}}" "\u00e9" f"{b=}" f"{a:}" f"{a:{b}{c}}", u"x", b"\xff", 1_000, 0x1F, 1e3
f(2j, ..., "\U0001fae8\u0378", None, True, 10**100)
"""


REFUSED = [
    # The lines of the file, the history, what the message says.
    (
        "abc",
        "aBc",
        "The code of alembic/versions/b.py differs from what has landed, and databases have run"
        " that. Undo the change, and add a new revision. If it has not landed yet, delete its line"
        " in alembic/versions.sum and run: python -m verification seal",
    ),
    ("abc", "ab", "Revision c has landed, and is missing. Restore it."),
    ("ac", "abc", "Nothing comes before a revision that has landed"),
    ("bac", "abc", "versions.sum has b where the history has a."),
    ("abcc", "abc", "versions.sum has c twice."),
]


def revisions(names: str) -> list[Revision]:
    """Return a history; a capital is a revision with other code."""
    return [
        Revision(name.lower(), f"alembic/versions/{name.lower()}.py", f'revision = "{name}"\n')
        for name in names
    ]


def lines(names: str) -> str:
    """Return a file with the lines of revisions."""
    return "".join([HEADING, *map(line, revisions(names))])


@pytest.mark.parametrize(
    ("old", "new", "is_code"),
    [
        ("Add a note.", "Add a note to book.", False),
        ("Why: because.\n", "", False),
        ('"""Add the column."""', "'''Add it.'''", False),
        ("  # as everywhere", "", False),
        ('("book", ', "(\n        'book',\n        ", False),
        ('"a"', '""', True),
        ('"a"', "None", True),
        ("-> None", "", True),
    ],
)
def test_only_code_affects_the_hash(old: str, new: str, is_code: bool) -> None:
    assert old in SOURCE
    assert (fingerprint(SOURCE.replace(old, new)) != fingerprint(SOURCE)) is is_code


@pytest.mark.parametrize("revision", history(LIBRARY), ids=lambda revision: revision.revision)
def test_every_token_of_the_revisions_affects_the_hash(revision: Revision) -> None:
    tokens = list(tokenize.generate_tokens(io.StringIO(revision.source).readline))
    unchanged = fingerprint(revision.source)
    for place, token in enumerate(tokens):
        if token.type in SUFFIXES and not token.string.startswith('"""'):
            changed = [*tokens]
            changed[place] = token._replace(string=token.string + SUFFIXES[token.type])
            with suppress(SyntaxError):  # if a keyword is changed
                assert fingerprint(tokenize.untokenize(changed)) != unchanged, token


def test_the_hash_is_the_same_on_every_python() -> None:
    assert fingerprint(VERSION_DEPENDENT) == (
        "3d5682fe63f1b6f53caa242d62729fea36cfcc3306f8df64d6d529731156cb50"
    )


@pytest.mark.parametrize(("landed", "history", "message"), REFUSED)
def test_a_history_that_does_not_continue_the_file_is_refused(
    landed: str, history: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        appended(PATH, lines(landed), revisions(history))


def test_a_missing_line_is_reported_and_appended() -> None:
    assert list(problems(PATH, lines("ab"), revisions("abc"))) == [
        "alembic/versions.sum has no line for alembic/versions/c.py."
        " Run: python -m verification seal"
    ]
    for landed in ("", lines("ab"), lines("abc")):
        assert appended(PATH, landed, revisions("abc")) == lines("abc")
    assert not list(problems(PATH, lines("abc"), revisions("abc")))


def test_two_branches_that_add_a_revision_conflict(tmp_path: Path) -> None:
    files = {"ours": "ab", "base": "a", "theirs": "ac"}
    for name, names in files.items():
        (tmp_path / name).write_text(lines(names))
    merged = subprocess.run(
        ["git", "merge-file", "--stdout", *files],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
    )
    assert merged.returncode == 1  # the number of conflicts
