"""A docstring that declares fewer or more locks than are taken is refused, with the right line."""

from hashlib import sha256

import pytest

from tests.support.probe_revisions import Probe
from tests.verification.project import LIBRARY
from verification.lines import lines_on_locks, with_lines
from verification.lock_lines import check_downgrade, check_upgrade, correct_line
from verification.observation import Observation, Statement

ADD_NOTE = 'op.add_column("staff", sa.Column("note", sa.Text()))'
BRIEFLY = "ACCESS EXCLUSIVE on staff, for milliseconds"
READING = "SHARE UPDATE EXCLUSIVE on staff, while its rows are read"
REWRITING = "ACCESS EXCLUSIVE on staff, while it is rewritten"


def observation(*statements: Statement) -> Observation:
    return Observation(LIBRARY, {"staff": 9, "branch": 9}, set(), list(statements))


def taking(
    lock: str, table: str = "staff", *, transaction: int = 0, reads: bool = False
) -> Statement:
    read = {table} if reads else set()
    return Statement("ALTER TABLE", transaction, locks={table: {lock}}, read=read)


ADDS = observation(taking("ACCESS EXCLUSIVE"))
VALIDATES = observation(taking("SHARE UPDATE EXCLUSIVE", reads=True))
BOTH = observation(
    taking("ACCESS EXCLUSIVE"), taking("SHARE UPDATE EXCLUSIVE", transaction=1, reads=True)
)
REWRITES = observation(
    Statement(
        "ALTER TABLE",
        0,
        locks={"staff": {"ACCESS EXCLUSIVE"}},
        read={"staff"},
        rewritten={"staff"},
    )
)
TWO_TABLES = observation(taking("SHARE"), taking("SHARE", "branch"))
READS_TWO_TABLES = observation(taking("SHARE", reads=True), taking("SHARE", "branch", reads=True))
READS_ONLY = observation(taking("ACCESS SHARE", reads=True))


@pytest.mark.parametrize(
    ("text", "observed"),
    [
        (BRIEFLY, ADDS),
        (f"{BRIEFLY}. No row is read", ADDS),
        (READING, VALIDATES),
        (f"{READING}; {BRIEFLY}", BOTH),
        (REWRITING, REWRITES),
        ("SHARE on branch and staff, for milliseconds", TWO_TABLES),
        ("SHARE on staff, for milliseconds; SHARE on branch, for milliseconds", TWO_TABLES),
        ("SHARE on branch and staff, while their rows are read", READS_TWO_TABLES),
        ("none", READS_ONLY),
        ("none. The table is new", observation()),
    ],
)
def test_a_correct_line_passes(text: str, observed: Observation) -> None:
    assert check_upgrade(f"Locks: {text}.", observed) == ""


@pytest.mark.parametrize(
    ("text", "observed", "paste"),
    [
        ("none", ADDS, BRIEFLY),
        ("none that matters", ADDS, BRIEFLY),
        ("SHARE on staff", ADDS, BRIEFLY),
        (f"{BRIEFLY}; SHARE on branch", ADDS, BRIEFLY),
        (REWRITING, ADDS, BRIEFLY),
        (READING.replace("read", "not read"), VALIDATES, READING),
        ("SHARE UPDATE EXCLUSIVE on staff, for milliseconds", VALIDATES, READING),
        (BRIEFLY, BOTH, f"{BRIEFLY}; {READING}"),
        (READING, BOTH, f"{BRIEFLY}; {READING}"),
        (BRIEFLY, REWRITES, REWRITING),
        ("ACCESS EXCLUSIVE on staff, while its rows are read", ADDS, BRIEFLY),
        ("SHARE on staff", TWO_TABLES, "SHARE on branch and staff, for milliseconds"),
        (BRIEFLY, observation(), "none"),
        ("none.\nLocks: none", observation(), "none"),
    ],
)
def test_a_wrong_line_is_refused(text: str, observed: Observation, paste: str) -> None:
    errors = check_upgrade(f"Locks: {text}.", observed)
    pasted = " ".join(errors.partition("The docstring should have:\n\n")[2].split())
    assert pasted == f"Locks: {paste}."
    assert check_upgrade(pasted, observed) == ""


def test_a_docstring_without_the_line() -> None:
    assert "Locks: none." in check_upgrade("A revision.", observation())


def test_a_downgrade_takes_no_more_than_the_line_declares() -> None:
    assert check_downgrade(f"Locks: {BRIEFLY}.", ADDS, set()) == ""
    assert check_downgrade(f"Locks: {BRIEFLY}.", TWO_TABLES, {"branch"}) == ""
    errors = check_downgrade(f"Locks: {BRIEFLY}.", TWO_TABLES, set())
    assert "Downgrade locks: SHARE on branch and staff, for milliseconds." in errors
    errors = check_downgrade(f"Locks: {BRIEFLY}.", REWRITES, set())
    assert f"Downgrade locks: {REWRITING}." in errors


def test_a_downgrade_with_its_own_line() -> None:
    docstring = f"Locks: none.\nDowngrade locks: {REWRITING}."
    assert check_downgrade(docstring, REWRITES, set()) == ""
    assert f"Downgrade locks: {BRIEFLY}." in check_downgrade(docstring, ADDS, set())
    # A table that is dropped is not named.
    assert "Downgrade locks: none." in check_downgrade(docstring, ADDS, {"staff"})


def test_a_revision_with_two_wrong_lines(probe: Probe) -> None:
    rewrite = 'op.execute("ALTER TABLE author ADD COLUMN r float DEFAULT random()")'
    docstring = "A probe.\n\nLocks: SHARE on staff.\nDowngrade: keeps all data."
    errors = probe(ADD_NOTE, rewrite, docstring).wrong_locks()
    assert f"Locks: {BRIEFLY}." in errors
    assert "Downgrade locks: ACCESS EXCLUSIVE on author, while it is rewritten." in errors


def test_a_missing_line_is_written(probe: Probe) -> None:
    create = 'op.execute("CREATE TABLE notes (id integer REFERENCES branch)")'
    docstring = "A probe.\n\nLocks: <none, or: ...>\nDowngrade: loses notes."
    revision = probe(create, 'op.drop_table("notes")', docstring)
    written = with_lines(docstring, lines_on_locks(revision))
    assert written == (
        "A probe.\n\nLocks: SHARE ROW EXCLUSIVE on branch, for milliseconds.\n"
        "Downgrade locks: ACCESS EXCLUSIVE on branch, for milliseconds.\nDowngrade: loses notes."
    )
    assert (
        with_lines(docstring.replace("Locks: <none, or: ...>\n", ""), lines_on_locks(revision))
        == written
    )
    # It is correct.
    assert check_upgrade(written, revision.upgrade) == ""
    assert check_downgrade(written, revision.downgrade, {"notes"}) == ""


def test_each_lock_of_a_transaction_is_declared_with_its_effects(probe: Probe) -> None:
    build = (
        'op.execute("CREATE INDEX ix_probe ON staff (wage)")\nop.execute("DROP INDEX ix_probe")'
    )
    line = "SHARE on staff, while its rows are read; ACCESS EXCLUSIVE on staff, for milliseconds."
    wrong = probe(build, docstring=f"A probe.\n\nLocks: {line}").wrong_locks()
    assert wrong == ""


def test_the_line_for_a_name_with_quotes_is_accepted(probe: Probe) -> None:
    upgrade, downgrade = (
        f"op.execute('ALTER TABLE \"user\" {change} COLUMN note text')"
        for change in ("ADD", "DROP")
    )
    revision = probe(upgrade, downgrade.replace(" text", ""))
    line = correct_line("Locks", revision.upgrade)
    assert line == 'Locks: ACCESS EXCLUSIVE on "user", for milliseconds.'
    assert check_upgrade(line, revision.upgrade) == ""


def test_a_long_definition_locks_no_table_of_its_own(probe: Probe) -> None:
    # It is stored in the TOAST table of the catalogue.
    columns = ", ".join(f"'{sha256(b'%d' % n).hexdigest()}' AS c{n}" for n in range(500))
    revision = probe(f'op.execute("""CREATE VIEW long AS SELECT {columns}""")')
    assert lines_on_locks(revision)[0] == "Locks: none."
