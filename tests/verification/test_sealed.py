"""The code of a landed revision never changes.

No revision is missing, and none is inserted before a landed one. If two branches each add a
revision, the second merge has a conflict. Docstrings can be corrected.
"""

import io
import re
import subprocess
import tokenize
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.verification.project import LIBRARY
from verification.sealed import (
    Revision,
    appended,
    fingerprint,
    history,
    problems,
)

PATH = "alembic/versions.sum"
SUFFIXES = {tokenize.NAME: "_", tokenize.NUMBER: "1", tokenize.STRING: '"."'}
"""What makes a token another one."""
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


@pytest.fixture
def revisions() -> list[Revision]:
    """Three revisions."""
    return [
        Revision(name, f"alembic/versions/{name}.py", f'"""Do {name}."""\nrevision = "{name}"\n')
        for name in "abc"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Add a note.", "Add a note to book."),
        ("Why: because.\n", ""),
        ('"""Add the column."""', "'''Add it.'''"),
        ("  # as everywhere", ""),
        ('("book", ', "(\n        'book',\n        "),
    ],
)
def test_docstrings_comments_and_layout_do_not_affect_the_hash(old: str, new: str) -> None:
    assert old in SOURCE
    assert fingerprint(SOURCE.replace(old, new)) == fingerprint(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("Text", "String"), ('"note"', '"Note"'), ('"a"', '""'), ('"a"', "None"), ("-> None", "")],
)
def test_code_affects_the_hash(old: str, new: str) -> None:
    assert old in SOURCE
    assert fingerprint(SOURCE.replace(old, new)) != fingerprint(SOURCE)


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


def test_a_changed_revision_is_refused(revisions: list[Revision]) -> None:
    text = appended(PATH, "", revisions)
    revisions[1] = replace(revisions[1], source=revisions[1].source + "extra = 1\n")
    (problem,) = problems(PATH, text, revisions)
    assert problem.startswith("The code of alembic/versions/b.py differs from what has landed")
    assert problem.endswith(
        "If it has not landed yet, delete its line in alembic/versions.sum and run:"
        " python -m verification seal"
    )
    with pytest.raises(ValueError, match=re.escape(problem)):
        appended(PATH, text, revisions)


def test_a_missing_line_is_reported_and_appended(revisions: list[Revision]) -> None:
    text = appended(PATH, "", revisions[:2])
    assert list(problems(PATH, text, revisions)) == [
        "alembic/versions.sum has no line for alembic/versions/c.py."
        " Run: python -m verification seal"
    ]
    both = appended(PATH, text, revisions)
    assert both.startswith(text)
    assert not list(problems(PATH, both, revisions))
    assert appended(PATH, both, revisions) == both


def test_a_missing_revision_is_refused(revisions: list[Revision]) -> None:
    (problem,) = problems(PATH, appended(PATH, "", revisions), revisions[:2])
    assert problem.startswith("Revision c has landed, and is missing. Restore it.")


def test_nothing_is_inserted_before_a_revision_that_has_landed(revisions: list[Revision]) -> None:
    first, second, third = revisions
    text = appended(PATH, "", [first, third])
    with pytest.raises(ValueError, match="Nothing comes before a revision that has landed"):
        appended(PATH, text, [first, second, third])


def test_lines_keep_their_order(revisions: list[Revision]) -> None:
    heading, *lines = appended(PATH, "", revisions).splitlines(keepends=True)
    (problem,) = problems(PATH, "".join([heading, lines[1], lines[0], lines[2]]), revisions)
    assert "versions.sum has b where the history has a." in problem
    (problem,) = problems(PATH, "".join([heading, *lines, lines[2]]), revisions)
    assert "versions.sum has c twice." in problem


def test_two_branches_that_add_a_revision_conflict(
    revisions: list[Revision], tmp_path: Path
) -> None:
    first, ours, theirs = revisions
    texts = [appended(PATH, "", history) for history in ([first, ours], [first], [first, theirs])]
    files = [tmp_path / name for name in ("ours", "base", "theirs")]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    merged = subprocess.run(["git", "merge-file", "--stdout", *files], capture_output=True)  # noqa: S607
    assert merged.returncode == 1  # the number of conflicts
