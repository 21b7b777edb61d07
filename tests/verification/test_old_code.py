"""How old code runs on the new schema is observed, and the line to paste is right."""

import pytest

from tests.verification.project import LIBRARY
from trading_bot_schema.docstrings import OldCode
from verification import Databases, old_code
from verification.databases import execute
from verification.old_code.line import advice, declared

CHANGES = [
    ("ALTER TABLE book ADD c text DEFAULT '' NOT NULL", "works."),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN new.joined_at := now(); RETURN new; END';"
        ' CREATE TRIGGER t BEFORE UPDATE ON "user" FOR EACH ROW EXECUTE FUNCTION f()',
        "works.",
    ),
    (
        "ALTER TABLE staff DROP COLUMN nickname",
        "breaks: insert into staff, select staff.nickname, update staff.nickname.",
    ),
    (
        "ALTER TABLE staff DROP CONSTRAINT ck_staff_wage_positive, ADD CHECK (wage > 1) NOT VALID",
        "breaks: insert into staff, rows of staff, update staff.wage.",
    ),
    ("ALTER TABLE staff ALTER COLUMN nickname TYPE varchar(99)", "fails once: staff."),
    (
        'ALTER TABLE "user" RENAME name TO full_name',
        'breaks: insert into "user", select "user".name, update "user".name.',
    ),
    (
        "ALTER TABLE lending.payment ADD COLUMN method text NOT NULL DEFAULT 'cash';"
        " ALTER TABLE lending.payment ALTER COLUMN method DROP DEFAULT",
        "breaks: insert into lending.payment.",
    ),
    (
        "DROP TABLE lending.fee",
        "breaks: delete from lending.fee, insert into lending.fee, select lending.fee,"
        " update lending.fee.",
    ),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_the_outcome_of_a_change(change: str, expected: str, owned_databases: Databases) -> None:
    observed = old_code.observe(
        owned_databases,
        owned_databases.filled_template(LIBRARY.head),
        lambda url: execute(url, change),
    )
    assert str(observed) == expected


@pytest.mark.parametrize(
    ("line", "works"),
    [
        ("Old code: works.", True),
        ("Old code: works. It reads no comments.", True),
        ("Old code: breaks: select book.title.", False),
        ("Old code: fails once: book.", False),
        ("Old code: fine.", False),
        ("", False),
    ],
)
def test_the_line_must_be_exact(line: str, works: bool) -> None:
    docstring = f"A probe.\n\n{line}\n"
    assert (declared(docstring) == OldCode()) == works
    assert "\n\nOld code: works.\n" in advice(docstring, OldCode())
