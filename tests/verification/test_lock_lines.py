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
ON_QUOTED = 'Locks: ACCESS EXCLUSIVE on "user", for milliseconds.'
# Its definition is stored in the TOAST table of the catalogue, which is no table of ours.
COLUMNS = ", ".join(f"'{sha256(b'%d' % n).hexdigest()}' AS c{n}" for n in range(500))
WIDE_VIEW = f"CREATE VIEW wide AS SELECT {COLUMNS}"
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
    ("text", "observed", "paste"),
    [
        (f"{BRIEFLY}. No row is read", ADDS, []),
        (f"{READING}; {BRIEFLY}", BOTH, []),
        ("SHARE on staff, for milliseconds; SHARE on branch, for milliseconds", TWO_TABLES, []),
        ("SHARE on branch and staff, while their rows are read", READS_TWO_TABLES, []),
        ("none", READS_ONLY, []),
        ("none. The table is new", observation(), []),
        ("none", ADDS, [BRIEFLY]),
        ("none that matters", ADDS, [BRIEFLY]),
        ("SHARE on staff", ADDS, [BRIEFLY]),
        (f"{BRIEFLY}; SHARE on branch", ADDS, [BRIEFLY]),
        (REWRITING, ADDS, [BRIEFLY]),
        (READING.replace("read", "not read"), VALIDATES, [READING]),
        ("SHARE UPDATE EXCLUSIVE on staff, for milliseconds", VALIDATES, [READING]),
        (BRIEFLY, BOTH, [f"{BRIEFLY}; {READING}"]),
        (READING, BOTH, [f"{BRIEFLY}; {READING}"]),
        (BRIEFLY, REWRITES, [REWRITING]),
        ("ACCESS EXCLUSIVE on staff, while its rows are read", ADDS, [BRIEFLY]),
        ("SHARE on staff", TWO_TABLES, ["SHARE on branch and staff, for milliseconds"]),
        (BRIEFLY, observation(), ["none"]),
        ("none.\nLocks: none", observation(), ["none"]),
    ],
)
def test_the_locks_of_an_upgrade(text: str, observed: Observation, paste: list[str]) -> None:
    wrong = check_upgrade(f"Locks: {text}.", observed)
    assert [" ".join(each.line.split()) for each in wrong] == [
        f"Locks: {locks}." for locks in paste
    ]
    for each in wrong:
        assert f"\n\n{each.line}\n" in each
        assert check_upgrade(each.line, observed) == []


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


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "docstring", "lines"),
    [
        (
            ADD_COLUMN.format("staff", "note"),
            'op.execute("ALTER TABLE author ADD COLUMN r float DEFAULT random()")',
            "Locks: SHARE on staff.\nDowngrade: keeps all data.",
            [
                f"Locks: {BRIEFLY}.",
                "Downgrade locks: ACCESS EXCLUSIVE on author, while it is rewritten.",
            ],
        ),
        (
            'op.execute("CREATE INDEX ix_probe ON staff (wage)")\n'
            'op.execute("DROP INDEX ix_probe")',
            "pass",
            f"Locks: SHARE on staff, while its rows are read; {BRIEFLY}.",
            [],
        ),
        (ADD_COLUMN.format("user", "note"), "pass", "", [ON_QUOTED]),
        (ADD_COLUMN.format("user", "note"), "pass", ON_QUOTED, []),
        (f'op.execute("""{WIDE_VIEW}""")', "pass", "Locks: none.", []),
    ],
    ids=["two wrong lines", "two locks of a table", "quotes", "quotes, declared", "a wide view"],
)
def test_the_locks_of_a_revision(
    upgrade: str, downgrade: str, docstring: str, lines: list[str], probe: Probe
) -> None:
    revision = probe(upgrade, downgrade, f"A probe.\n\n{docstring}")
    assert [wrong.line for wrong in revision.wrong_locks()] == lines
