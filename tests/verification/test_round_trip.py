"""A revision that changes or loses rows is detected, with rows of every kind."""

import pytest

from tests.support.probe_revisions import Revisions
from verification import Databases
from verification.observed_revision import ObservedRevision
from verification.round_trip import undeclared


def execute(*statements: str) -> str:
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


def retype(table: str, column: str, kind: str, using: str = "") -> str:
    using = f" USING {using}" if using else ""
    return execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}{using}")


KEEPS = "Downgrade: keeps all data."
BERLIN = "joined_at AT TIME ZONE 'Europe/Berlin'"
CHANGES = {
    # Title: upgrade, downgrade, the lines that its docstring should have.
    "rounds a price": (
        retype("lending.payment", "amount", "numeric(12, 1)", "greatest(trunc(amount, 1), 0.1)"),
        retype("lending.payment", "amount", "numeric(12, 2)"),
        "Upgrade: changes lending.payment.amount.",
        "Upgrade: loses lending.payment.amount.",
        KEEPS,
    ),
    "converts a decimal to a float": (
        retype("book", "price", "real"),
        retype("book", "price", "numeric(8, 2)", "least(price, 99999)"),
        "Upgrade: changes book.price.",
        "Upgrade: loses book.price.",
        "Downgrade: loses book.price.",
    ),
    "drops the time zone": (
        retype('"user"', "joined_at", "timestamp", BERLIN),
        retype('"user"', "joined_at", "timestamptz", BERLIN),
        'Upgrade: changes "user".joined_at.',
        'Upgrade: loses "user".joined_at.',
        'Downgrade: loses "user".joined_at.',
    ),
    "shifts a time": (
        execute("UPDATE \"user\" SET joined_at = joined_at - interval '3 hours'"),
        execute("UPDATE \"user\" SET joined_at = joined_at + interval '3 hours'"),
        'Upgrade: changes "user".joined_at.',
        KEEPS,
    ),
    "removes duplicates": (
        execute(
            "DELETE FROM lending.visit a USING lending.visit b"
            " WHERE a.visited_at = b.visited_at AND a.id > b.id"
        ),
        "pass",
        "Upgrade: changes lending.visit.",
        "Upgrade: loses lending.visit.",
        KEEPS,
    ),
    "removes equal rows of a table without a key": (
        execute(
            "DELETE FROM suggestion a USING suggestion b"
            " WHERE a.title = b.title AND a.ctid > b.ctid"
        ),
        "pass",
        "Upgrade: changes suggestion.",
        "Upgrade: loses suggestion.",
        KEEPS,
    ),
    "fills NULLs": (
        execute("UPDATE staff SET nickname = '' WHERE nickname IS NULL"),
        "pass",
        "Upgrade: changes staff.nickname.",
        "Upgrade: loses staff.nickname.",
        KEEPS,
    ),
    "trims names": (
        execute("UPDATE author SET name = trim(name)"),
        "pass",
        "Upgrade: changes author.name.",
        "Upgrade: loses author.name.",
        KEEPS,
    ),
    "rounds to seconds": (
        retype("lending.payment", "paid_at", "timestamptz(0)"),
        retype("lending.payment", "paid_at", "timestamptz"),
        "Upgrade: changes lending.payment.paid_at.",
        "Upgrade: loses lending.payment.paid_at.",
        KEEPS,
    ),
    "drops a column and a table": (
        execute("ALTER TABLE staff DROP COLUMN nickname", "DROP TABLE suggestion"),
        execute(
            "ALTER TABLE staff ADD COLUMN nickname text", "CREATE TABLE suggestion (title text)"
        ),
        "Upgrade: loses staff.nickname, suggestion.",
        KEEPS,
    ),
    "fills a new column": (
        execute(
            "ALTER TABLE staff ADD COLUMN short text", "UPDATE staff SET short = left(name, 3)"
        ),
        execute("ALTER TABLE staff DROP COLUMN short"),
        "Upgrade: changes staff.short.",
        "Downgrade: loses staff.short.",
    ),
    "sets the values that there are": (
        execute("UPDATE staff SET nickname = nickname"),
        "pass",
        KEEPS,
    ),
    "truncates long text in the downgrade": (
        retype("author", "name", "varchar(20000)"),
        retype("author", "name", "text", "left(name, 100)"),
        "Downgrade: loses author.name.",
    ),
    "maps two values to one in the downgrade": (
        "pass",
        execute("UPDATE staff SET nickname = 'b' WHERE nickname = 'a'"),
        "Downgrade: loses staff.nickname.",
    ),
    "rounds in the downgrade": (
        retype("staff", "wage", "numeric(12, 4)"),
        retype("staff", "wage", "numeric(8, 2)", "least(wage, 99999) + 1"),
        "Downgrade: loses staff.wage.",
    ),
    "fills a column that may be NULL in the downgrade": (
        execute('ALTER TABLE "user" ALTER joined_at DROP NOT NULL'),
        execute(
            'UPDATE "user" SET joined_at = now() WHERE joined_at IS NULL',
            'ALTER TABLE "user" ALTER joined_at SET NOT NULL',
        ),
        'Downgrade: loses "user".joined_at.',
    ),
}


@pytest.mark.parametrize("title", CHANGES)
def test_what_happens_to_rows_is_measured(
    title: str, revisions: Revisions, owned_databases: Databases
) -> None:
    upgrade, downgrade, *lines = CHANGES[title]
    revisions.add("probe", upgrade, downgrade)
    databases = owned_databases.of(revisions.project)
    script = revisions.project.scripts.get_revision("probe")
    observed = ObservedRevision(databases, script)
    assert [wrong.line for wrong in undeclared(databases, script, observed.upgrade)] == lines
