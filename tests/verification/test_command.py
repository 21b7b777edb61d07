"""The contributor's commands write what is measured, and say what is wrong with which revision."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.probe_revisions import DROP_COLUMN, Revisions
from verification.__main__ import run
from verification.lines import WrongLine, corrected

DOCSTRING = """Add notes.

Why: they are needed.
Locks: SHARE ROW EXCLUSIVE on branch, for milliseconds. Notes are new.
Downgrade locks: ACCESS EXCLUSIVE on branch, for milliseconds.
Upgrade: changes staff.wage.
Old code: works.
Downgrade: loses notes.
Accepts: rows-under-lock on staff, since it has ten rows.

Revision ID: probe
"""
LINES = {
    "Locks:": "SHARE ROW EXCLUSIVE on branch, for milliseconds.",
    "Downgrade locks:": "ACCESS EXCLUSIVE on branch, for milliseconds.",
    "Upgrade: changes": "staff.wage.",
    "Upgrade: loses": None,
    "Old code:": "works.",
    "Downgrade:": "loses notes.",
}


@pytest.mark.parametrize(
    ("start", "right", "wrong"),
    [
        ("Locks:", "SHARE ROW", "SHARE on staff,\nauthor and"),
        ("Downgrade locks:", "Downgrade locks: .*\n", ""),
        ("Upgrade: changes", "Upgrade: .*\n", ""),
        ("Upgrade: changes", "wage", "wage, staff.name"),
        ("Upgrade: loses", "(Old code)", r"Upgrade: loses staff.\n\1"),
        ("Old code:", "Old code: .*\n", ""),
        ("Old code:", "(Old code: .*\n)", r"\1\1"),
        ("Downgrade:", "loses notes", "keeps all data"),
    ],
)
def test_a_line_is_corrected(start: str, right: str, wrong: str) -> None:
    docstring = re.sub(right, wrong, DOCSTRING)
    assert docstring != DOCSTRING
    assert corrected(docstring, [WrongLine("", start, LINES[start])]) == DOCSTRING


def test_all_lines_are_written(revisions: Revisions, capsys: pytest.CaptureFixture[str]) -> None:
    """The line about the locks of a downgrade does not name a table that it drops."""
    create = 'op.execute("CREATE TABLE notes (id integer REFERENCES branch)")'
    revisions.add("probe", create, 'op.drop_table("notes")', docstring="Add notes.")
    assert run(revisions.project, "lines", ["probe"]) == 0
    printed = capsys.readouterr().out.splitlines()[1:]
    source = Path(revisions.project.scripts.get_revision("probe").path).read_text()
    written = source.split('"""')[1].splitlines()
    assert {*printed} <= {*written}
    assert {*written[2:]} == {
        f"{start} {text}" for start, text in LINES.items() if not start.startswith("Upgrade")
    } | {""}


def test_a_failure_names_the_revision_and_the_others_are_checked(
    revisions: Revisions, capsys: pytest.CaptureFixture[str]
) -> None:
    connected = 'op.get_bind().execute(sa.text("SELECT 1")).all()'
    repeated = "A probe.\n\nOld code: works.\nOld code: works."
    loop = "DO $$ BEGIN WHILE EXISTS (SELECT FROM staff) LOOP END LOOP; END $$"
    revisions.add("endless", f"op.execute(\"SET statement_timeout = '99ms'; {loop}\")")
    revisions.add("probe", connected, 'op.drop_table("nosuch")', docstring=repeated)
    required = 'op.add_column("book", sa.Column("note", sa.Text(), nullable=False))'
    revisions.add("required", required, DROP_COLUMN.format("book", "note"))
    revisions.add("later", DROP_COLUMN.format("book", "nosuch"))
    assert run(revisions.project, "check", ["endless", "probe", "required", "later"]) == 1
    printed = capsys.readouterr().out
    for message in (
        "endless.py: upgrade() of endless.py fails: canceling statement due to statement timeout"
        " (does its loop end?). SET statement_timeout = '99ms'; DO $$",
        "probe.py: upgrade endless:probe --sql fails: AttributeError: 'NoneType' object has",
        'probe.py: downgrade() of probe.py fails: table "nosuch" does not exist. DROP TABLE',
        "probe.py: The line Old code: is missing, or differs from what happens. The docstring"
        " should have:\n\nOld code: works.\n",
        "required.py: required.py fails on the rows that were generated, so that what it does is"
        ' unknown: (psycopg.errors.NotNullViolation) column "note" of relation "book" contains',
        'later.py: upgrade() of later.py fails: column "nosuch" of relation "book" does',
    ):
        assert printed.count(message) == 1, printed
    assert "Safe: add the column without a default, fill it in batches. See “Make a col" in printed


def test_an_unfinished_revision_is_not_sealed(
    revisions: Revisions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    revisions.add("probe", 'op.drop_table("fee", schema="lending")', docstring="TODO")
    sealed = tmp_path / "versions.sum"
    assert run(replace(revisions.project, sealed=sealed), "seal", []) == 1
    assert "probe.py: line 1: " in capsys.readouterr().out
    assert not sealed.exists()
