"""How old code runs on the new schema is observed, and the line to paste is right."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.support.probe_revisions import Revisions
from tests.verification.project import LIBRARY
from tests.verification.schema.models import author
from trading_bot_schema.embedded import TEMPORARY_PREFIX
from verification import Databases, old_code
from verification.databases import execute, name_of
from verification.guarantees import leaves_old_code_working, problems

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
    ("DROP VIEW in_print", "breaks: select in_print."),
    (
        "DROP VIEW in_print; CREATE VIEW in_print AS SELECT id, title, 'x' || pages AS pages"
        " FROM book",
        "breaks: select in_print.pages.",
    ),
    ("DROP FUNCTION pages_of(uuid)", "breaks: call pages_of(uuid)."),
    (
        "CREATE OR REPLACE FUNCTION pages_of(book_id uuid) RETURNS integer LANGUAGE plpgsql"
        " AS 'BEGIN RETURN (SELECT number_of_pages FROM book WHERE id = book_id); END'",
        "breaks: call pages_of(uuid).",
    ),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF old.id % 2 = 1 THEN RAISE ''kept''; END IF; RETURN old; END';"
        " CREATE TRIGGER t BEFORE DELETE ON staff FOR EACH ROW EXECUTE FUNCTION f()",
        "breaks: delete from staff.",
    ),
    ("REVOKE INSERT ON book FROM {app}", "breaks: insert into book."),
    (
        "DROP TABLE lending.fee",
        "breaks: delete from lending.fee, insert into lending.fee, select lending.fee,"
        " update lending.fee.",
    ),
]


def _with_views(databases: Databases) -> str:
    """Return the name of a database with a view and a function."""
    url = databases.make(databases.filled_template(LIBRARY.head))
    execute(
        url,
        "CREATE VIEW in_print AS SELECT id, title, pages FROM book",
        "CREATE FUNCTION pages_of(book_id uuid) RETURNS integer LANGUAGE plpgsql"
        " AS 'BEGIN RETURN (SELECT pages FROM book WHERE id = book_id); END'",
    )
    return databases.keep(url)


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_the_outcome_of_a_change(change: str, expected: str, owned_databases: Databases) -> None:
    template = owned_databases.once(("views",), lambda: _with_views(owned_databases))
    observed = old_code.observe(
        owned_databases,
        template,
        lambda url: execute(url, change.replace("{app}", owned_databases.app)),
    )
    assert str(observed) == expected


def test_the_roles_have_the_names_of_the_script(owned_databases: Databases, server: str) -> None:
    if TEMPORARY_PREFIX not in server:
        pytest.skip("Another server may have roles of these names.")
    assert owned_databases.app == "library_app"


@pytest.mark.parametrize(
    ("change", "written"),
    [
        (
            "ALTER TABLE book ADD FOREIGN KEY (probe_id) REFERENCES branch NOT VALID",
            "breaks: insert into book.",
        ),
        (
            "ALTER TABLE book ADD CHECK (probe_id < 7) NOT VALID",
            "breaks: insert into book, update book.",
        ),
    ],
)
def test_a_column_that_no_code_writes_yet(
    change: str, written: str, owned_databases: Databases
) -> None:
    url = owned_databases.make(owned_databases.filled_template(LIBRARY.head))
    execute(url, "ALTER TABLE book ADD probe_id integer", "UPDATE book SET probe_id = 7")
    template = name_of(url)
    for unwritten, expected in ((set(), written), ({"book.probe_id"}, "works.")):
        observed = old_code.observe(
            owned_databases, template, lambda url: execute(url, change), frozenset(unwritten)
        )
        assert str(observed) == expected


@pytest.mark.parametrize("name", ["book.title", "book.none", "none.title"])
def test_what_is_unwritten_is_optional(
    name: str, revisions: Revisions, owned_databases: Databases
) -> None:
    revisions.add("probe", "pass", docstring=f"A probe.\n\nUnwritten: {name}.")
    script = revisions.project.scripts.get_revision("probe")
    databases = owned_databases.of(revisions.project)
    (message,) = problems(leaves_old_code_working, databases, script)
    assert message.startswith(f"Unwritten: {name}: it should name columns that exist")


@pytest.mark.parametrize(
    ("change", "sought", "expected"),
    [
        ("author SET name = lower(name)", "Ursula K. Le Guin", "breaks: author by name."),
        ("author SET name = lower(name)", "nobody", "finds no row before"),
        (f"author SET id = '{UUID(int=2)}'", "Ursula K. Le Guin", "breaks: rows of author."),
    ],
)
def test_a_query_of_the_application(
    change: str, sought: str, expected: str, revisions: Revisions, owned_databases: Databases
) -> None:
    """It finds a row by the text that a data migration writes in another way."""
    revisions.add("probe", f"""op.execute("UPDATE {change} WHERE name <> 'x'")""")
    project = replace(
        revisions.project,
        rows={"author": [{"id": UUID(int=1), "name": "Ursula K. Le Guin"}]},
        queries={"author by name": select(author.c.id).where(author.c.name == sought)},
    )
    script = project.scripts.get_revision("probe")
    (message,) = problems(leaves_old_code_working, owned_databases.of(project), script)
    assert expected in message
