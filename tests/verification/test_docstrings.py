"""The lines of a revision's docstring are read as described in docs/recipes.md."""

import pytest

from trading_bot_schema.docstrings import (
    Acceptance,
    DeclaredLock,
    DocstringError,
    OldCode,
    acceptances,
    line,
    lines,
    locks,
    names,
    old_code,
)

DOCSTRING = """Add a note.

Why: people ask
for it. Note this: a colon in prose.
Locks: ACCESS EXCLUSIVE on book, for milliseconds: no row is rewritten; SHARE UPDATE EXCLUSIVE
on book, branch and author, while their rows are read. Each takes 1.5 s.
Downgrade: loses book.note, orders. The rest is kept.
Upgrade: changes branch.email.
Upgrade: loses branch.nickname.
Accepts: scan-under-lock on branch, since it has ten rows; timeout, since it waits for a person.

Revision ID: 0b6e46a18d05
Revises: 7c1d0e5a9b42
"""


def test_lines_continue_until_the_next() -> None:
    assert [heading for heading, _ in lines(DOCSTRING)] == [
        "Why",
        "Locks",
        "Downgrade",
        "Upgrade",
        "Upgrade",
        "Accepts",
        "Revises",
    ]
    assert line(DOCSTRING, "Why") == "people ask for it. Note this: a colon in prose."
    assert line(DOCSTRING, "Old code") is None


def test_names_end_with_a_full_stop() -> None:
    assert names(DOCSTRING, "Downgrade", "loses") == {"book.note", "orders"}
    assert names(DOCSTRING, "Upgrade", "changes") == {"branch.email"}
    assert names(DOCSTRING, "Upgrade", "loses") == {"branch.nickname"}
    assert names("Downgrade: keeps all data.", "Downgrade", "loses") == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            line(DOCSTRING, "Locks"),
            [
                DeclaredLock(
                    "ACCESS EXCLUSIVE", ("book",), "for milliseconds: no row is rewritten"
                ),
                DeclaredLock(
                    "SHARE UPDATE EXCLUSIVE",
                    ("book", "branch", "author"),
                    "while their rows are read",
                ),
            ],
        ),
        ("SHARE on book and branch.", [DeclaredLock("SHARE", ("book", "branch"), "")]),
        ("none. The tables are new.", []),
    ],
)
def test_locks(text: str, expected: list[DeclaredLock]) -> None:
    assert locks(text) == expected


@pytest.mark.parametrize(
    "text", ["none that matters.", "EXCLUSIVE LOCK on book.", "book.", "ACCESS EXCLUSIVE.", ""]
)
def test_locks_in_another_form(text: str) -> None:
    with pytest.raises(DocstringError, match=r"of the form 'ACCESS EXCLUSIVE on "):
        locks(text)


def test_exceptions_have_reasons() -> None:
    assert acceptances(DOCSTRING) == [
        Acceptance("scan-under-lock", ("branch",), "it has ten rows"),
        Acceptance("timeout", (), "it waits for a person"),
    ]
    assert acceptances("A revision.") == []
    for text in ("scan-under-lock on branch.", "since it is safe", "all of it, since it is safe"):
        with pytest.raises(DocstringError, match="is not of the form 'scan-under-lock on "):
            acceptances(f"Accepts: {text}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("works.", OldCode()),
        ("works. It does not use the column.", OldCode()),
        ("fails once: book, branch.", OldCode(fails_once=frozenset({"book", "branch"}))),
        (
            "breaks: insert into branch, select\nbranch.nickname; fails once: branch. See above.",
            OldCode(
                frozenset({"insert into branch", "select branch.nickname"}), frozenset({"branch"})
            ),
        ),
        ("slows: user by email.", OldCode(slows=frozenset({"user by email"}))),
    ],
)
def test_old_code(text: str, expected: OldCode) -> None:
    assert old_code(f"A.\n\nOld code: {text}\nDowngrade: keeps all data.\n") == expected
    assert old_code(f"A.\n\nOld code: {expected}\n") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Locks: none.", "no line 'Old code:'"),
        ("Old code: is fine.", "'is fine' is not of the form"),
    ],
)
def test_a_malformed_line_about_old_code(text: str, message: str) -> None:
    with pytest.raises(DocstringError, match=message):
        old_code(f"A.\n\n{text}\n")
