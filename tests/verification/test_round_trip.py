"""A revision that changes or loses rows is detected, with rows of every kind."""

import pytest

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from verification import Databases
from verification.content import Rows, lost, shared
from verification.round_trip import round_trip
from verification.rows import fill


def execute(*statements: str) -> str:
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


def retype(table: str, column: str, kind: str, using: str = "") -> str:
    using = f" USING {using}" if using else ""
    return execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}{using}")


def positions(condition: str) -> str:
    """Return what allows other positions of an author."""
    return execute(
        "ALTER TABLE authorship DROP CONSTRAINT IF EXISTS probe",
        f"ALTER TABLE authorship ADD CONSTRAINT probe CHECK ({condition})",
    )


BERLIN = "joined_at AT TIME ZONE 'Europe/Berlin'"
UPGRADES = {
    # Title: upgrade, downgrade, what changes, what is lost.
    "rounds a price": (
        retype("lending.payment", "amount", "numeric(12, 1)", "greatest(trunc(amount, 1), 0.1)"),
        retype("lending.payment", "amount", "numeric(12, 2)"),
        {"lending.payment.amount"},
        {"lending.payment.amount"},
    ),
    "converts a decimal to a float": (
        retype("book", "price", "real"),
        retype("book", "price", "numeric(8, 2)", "least(price, 99999)"),
        {"book.price"},
        {"book.price"},
    ),
    "drops the time zone": (
        retype('"user"', "joined_at", "timestamp", BERLIN),
        retype('"user"', "joined_at", "timestamptz", BERLIN),
        {'"user".joined_at'},
        {'"user".joined_at'},
    ),
    "shifts a time": (
        execute("UPDATE \"user\" SET joined_at = joined_at - interval '3 hours'"),
        execute("UPDATE \"user\" SET joined_at = joined_at + interval '3 hours'"),
        {'"user".joined_at'},
        set(),
    ),
    "removes duplicates": (
        execute(
            "DELETE FROM lending.visit a USING lending.visit b"
            " WHERE a.visited_at = b.visited_at AND a.id > b.id"
        ),
        "pass",
        {"lending.visit"},
        {"lending.visit"},
    ),
    "removes equal rows of a table without a key": (
        execute(
            "DELETE FROM suggestion a USING suggestion b"
            " WHERE a.title = b.title AND a.ctid > b.ctid"
        ),
        "pass",
        {"suggestion"},
        {"suggestion"},
    ),
    "fills NULLs": (
        execute("UPDATE staff SET nickname = '' WHERE nickname IS NULL"),
        "pass",
        {"staff.nickname"},
        {"staff.nickname"},
    ),
    "trims names": (
        execute("UPDATE author SET name = trim(name)"),
        "pass",
        {"author.name"},
        {"author.name"},
    ),
    "rounds to seconds": (
        retype("lending.payment", "paid_at", "timestamptz(0)"),
        retype("lending.payment", "paid_at", "timestamptz"),
        {"lending.payment.paid_at"},
        {"lending.payment.paid_at"},
    ),
}
DOWNGRADES = {
    # Title: upgrade, downgrade, what is lost.
    "truncates long text": (
        retype("author", "name", "varchar(20000)"),
        retype("author", "name", "text", "left(name, 100)"),
        {"author.name"},
    ),
    "maps two values to one": (
        positions("position > -9"),
        execute("UPDATE staff SET nickname = 'b' WHERE nickname = 'a'") + "\n" + positions("true"),
        {"staff.nickname"},
    ),
    "rounds": (
        retype("staff", "wage", "numeric(12, 4)"),
        retype("staff", "wage", "numeric(8, 2)", "least(wage, 99999) + 1"),
        {"staff.wage"},
    ),
    "fills a column that may be NULL": (
        execute('ALTER TABLE "user" ALTER joined_at DROP NOT NULL'),
        execute(
            'UPDATE "user" SET joined_at = now() WHERE joined_at IS NULL',
            'ALTER TABLE "user" ALTER joined_at SET NOT NULL',
        ),
        {'"user".joined_at'},
    ),
}


@pytest.mark.parametrize("title", UPGRADES)
def test_an_upgrade_that_changes_data_is_detected(
    title: str, revisions: Revisions, owned_databases: Databases
) -> None:
    upgrade, downgrade, changed, losses = UPGRADES[title]
    revisions.add("probe", upgrade, downgrade)
    project = revisions.project
    result = round_trip(
        owned_databases.filled(LIBRARY.head),
        lambda url: project.migrate(url, "probe"),
        lambda url: project.migrate(url, "-1"),
    )
    assert (result.changed, result.lost) == (changed, losses)


@pytest.mark.parametrize("title", DOWNGRADES)
def test_a_downgrade_that_changes_data_is_detected(
    title: str, revisions: Revisions, database: str
) -> None:
    upgrade, downgrade, losses = DOWNGRADES[title]
    revisions.add("probe", upgrade, downgrade)
    project = revisions.project
    project.migrate(database, "probe")
    fill(database, project)
    result = round_trip(
        database,
        lambda url: project.migrate(url, "-1"),
        lambda url: project.migrate(url, "probe"),
    )
    assert result.lost == losses


def test_what_is_lost() -> None:
    before: dict[str, Rows] = {
        "book": {(1,): {"id": 1, "title": "a", "note": None}, (2,): {"id": 2, "title": "b"}},
        "author": {(1,): {"id": 1}},
        "shelf": {(1,): {"id": 1}},
    }
    after: dict[str, Rows] = {
        "book": {(1,): {"id": 1, "title": "A"}, (2,): {"id": 2, "title": "b"}},
        "author": {},
    }
    assert lost(before, after) == {"book.title", "book.note", "author", "shelf"}
    assert lost(shared(before, after), after) == {"book.title", "author"}
    assert lost(before, before) == set()
