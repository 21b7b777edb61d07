"""A docstring that declares fewer or more locks than are taken is refused, with the right line."""

from dataclasses import replace
from hashlib import sha256

import pytest

from tests.support.probe_revisions import ADD_COLUMN, Probe
from tests.verification.project import LIBRARY
from verification.lock_lines import check_downgrade, check_upgrade
from verification.observation import Observation, Statement

BRIEFLY = "ACCESS EXCLUSIVE on staff, for milliseconds"
READING = "SHARE UPDATE EXCLUSIVE on staff, while its rows are read"
REWRITING = "ACCESS EXCLUSIVE on staff, while it is rewritten"
OWN_LINE = f"Locks: none.\nDowngrade locks: {REWRITING}."


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
DROPS = replace(TWO_TABLES, removed={"branch": ["drops branch"]})
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
    assert check_upgrade(f"Locks: {text}.", observed) == []


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
    (wrong,) = check_upgrade(f"Locks: {text}.", observed)
    assert f"\n\n{wrong.line}\n" in wrong
    assert " ".join(wrong.line.split()) == f"Locks: {paste}."
    assert check_upgrade(wrong.line, observed) == []


@pytest.mark.parametrize(
    ("docstring", "observed", "paste"),
    [
        # It takes no more than the line Locks: declares.
        (f"Locks: {BRIEFLY}.", ADDS, []),
        (f"Locks: {BRIEFLY}.", DROPS, []),
        (f"Locks: {BRIEFLY}.", TWO_TABLES, ["SHARE on branch and staff, for milliseconds"]),
        (f"Locks: {BRIEFLY}.", REWRITES, [REWRITING]),
        # It has a line of its own.
        (OWN_LINE, REWRITES, []),
        (OWN_LINE, ADDS, [BRIEFLY]),
        # A table that is dropped is not named.
        (OWN_LINE, DROPS, ["SHARE on staff, for milliseconds"]),
    ],
)
def test_the_locks_of_a_downgrade(docstring: str, observed: Observation, paste: list[str]) -> None:
    wrong = [each.line for each in check_downgrade(docstring, observed)]
    assert wrong == [f"Downgrade locks: {locks}." for locks in paste]


def test_a_revision_with_two_wrong_lines(probe: Probe) -> None:
    rewrite = 'op.execute("ALTER TABLE author ADD COLUMN r float DEFAULT random()")'
    docstring = "A probe.\n\nLocks: SHARE on staff.\nDowngrade: keeps all data."
    assert [
        wrong.line
        for wrong in probe(ADD_COLUMN.format("staff", "note"), rewrite, docstring).wrong_locks()
    ] == [
        f"Locks: {BRIEFLY}.",
        "Downgrade locks: ACCESS EXCLUSIVE on author, while it is rewritten.",
    ]


def test_each_lock_of_a_transaction_is_declared_with_its_effects(probe: Probe) -> None:
    build = (
        'op.execute("CREATE INDEX ix_probe ON staff (wage)")\nop.execute("DROP INDEX ix_probe")'
    )
    line = "SHARE on staff, while its rows are read; ACCESS EXCLUSIVE on staff, for milliseconds."
    assert probe(build, docstring=f"A probe.\n\nLocks: {line}").wrong_locks() == []


def test_the_line_for_a_name_with_quotes_is_accepted(probe: Probe) -> None:
    line = 'Locks: ACCESS EXCLUSIVE on "user", for milliseconds.'
    observed = probe(ADD_COLUMN.format("user", "note")).upgrade
    assert [wrong.line for wrong in check_upgrade("", observed)] == [line]
    assert check_upgrade(line, observed) == []


def test_a_long_definition_locks_no_table_of_its_own(probe: Probe) -> None:
    # It is stored in the TOAST table of the catalogue.
    columns = ", ".join(f"'{sha256(b'%d' % n).hexdigest()}' AS c{n}" for n in range(500))
    revision = probe(f'op.execute("""CREATE VIEW long AS SELECT {columns}""")')
    assert check_upgrade("Locks: none.", revision.upgrade) == []
