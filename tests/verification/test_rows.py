"""Every table of any schema is filled, with the values that its types and CHECKs allow."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from tests.verification.project import LIBRARY
from verification import Databases
from verification.databases import execute, scalar
from verification.rows import RowsError, fill, grow
from verification.tables import TABLES

KINDS = (
    "uuid bytea interval time inet int4range daterange jsonb text[] int[] float8 date tsvector"
    " book_format numeric(5,2) bool timestamp char(3)"
)
FILLED: dict[str, list[str]] = {
    # Title: statements that make tables.
    "keys of every type": [
        f"CREATE TABLE k{n} (k {kind} UNIQUE, n int)" for n, kind in enumerate(KINDS.split())
    ],
    "a short text as key": ["CREATE TABLE t (k varchar(2) PRIMARY KEY)"],
    "a key on an expression": [
        "CREATE TABLE t (k text NOT NULL)",
        "CREATE UNIQUE INDEX ON t (lower(k))",
    ],
    "a pattern": ["CREATE TABLE t (k text PRIMARY KEY CHECK (k LIKE '%@%.org'))"],
    "a pattern in a domain": [
        "CREATE DOMAIN d AS text CHECK (VALUE ~ '^[A-Z]{3}-[0-9]{4}$')",
        "CREATE TABLE t (k d PRIMARY KEY, other d NOT NULL)",
    ],
    "CHECKs of several columns": [
        "CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int, CHECK (a < b), CHECK (b < c))",
    ],
    "NOT NULL as CHECKs": [
        "CREATE TABLE t (a int, b int, c int, CHECK (a IS NOT NULL), CHECK (num_nulls(b, c) = 1))",
    ],
    "a list of values": ["CREATE TABLE t (s text NOT NULL CHECK (s IN ('new', 'old')))"],
    "partitions by list": [
        "CREATE TABLE t (s text, n int) PARTITION BY LIST (s)",
        "CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('north', 'south')",
    ],
    "an exclusion constraint": [
        "CREATE TABLE t (during int4range, EXCLUDE USING gist (during WITH &&))",
    ],
    "a CHECK of a column and a foreign key": [
        "CREATE TABLE t (kind text NOT NULL CHECK (kind IN ('any', 'book')),"
        " book uuid REFERENCES book, CHECK ((kind = 'book') = (book IS NOT NULL)))",
    ],
    "columns that may be NULL, and a tsvector": ["CREATE TABLE t (a int, words tsvector)"],
    "two tables that may refer to each other": [
        "CREATE TABLE a (id int PRIMARY KEY, b int)",
        "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b",
    ],
    "two tables that need each other": [
        "CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL)",
        "CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a)",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b",
    ],
    "a tree": ["CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t, UNIQUE (up, id))"],
    "one row for each of another table": [
        'CREATE TABLE t (id bigint PRIMARY KEY REFERENCES "user", note text)',
    ],
    "a table in another schema with the same name": [
        "CREATE SCHEMA archive",
        "CREATE TABLE archive.book (LIKE book INCLUDING ALL)",
    ],
    "no column but a generated one": ["CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY)"],
}


def values(url: str, table: str, column: str) -> set[str | None]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(f'SELECT "{column}"::text FROM {table}'.encode())
        return {text for (text,) in rows}


def tables(url: str) -> Iterator[tuple[str, int]]:
    with psycopg.connect(url) as connection:
        for _, name in connection.execute(TABLES.encode()).fetchall():
            yield name, scalar(url, f"SELECT count(*) FROM {name}")


@pytest.fixture(scope="session")
def filled(make_database: Callable[..., str], database_at: Databases) -> str:
    """The library, with rows."""
    url = database_at.at(LIBRARY.head)
    fill(url, LIBRARY)
    return url


def test_every_table_has_rows(filled: str) -> None:
    assert {name: number for name, number in tables(filled) if number < 3} == {}
    for table, column in (("lending.copy", "loan_id"), ('"user"', "referred_by")):
        assert len(values(filled, table, column)) > 2, "NULL and others"
    assert len(values(filled, "lending.visit", "tableoid")) == 2, "all partitions"


def test_values_vary(filled: str) -> None:
    assert {"a", "A", "a ", ""} <= values(filled, "author", "name"), "easily confused"
    assert "x" * 200 in values(filled, "book", "title"), "the longest"
    assert {"999999.99", "0.01"} <= values(filled, "book", "price"), "the extremes"
    assert {"paper", "audio", "electronic"} == values(filled, "book", "format")
    assert None in values(filled, "book", "pages")


@pytest.mark.parametrize("title", FILLED)
def test_tables_of_all_kinds_are_filled(title: str, database: str) -> None:
    statements = FILLED[title]
    execute(database, *statements)
    fill(database, LIBRARY)
    few = {name for name, number in tables(database) if number < 2}
    assert few <= {"k15"}, few  # an enum has few values
    if title == "a CHECK of a column and a foreign key":
        assert values(database, "t", "kind") == {"any", "book"}
    if title == "two tables that need each other":
        deferrable = "SELECT count(*) FROM pg_constraint WHERE condeferrable"
        assert scalar(database, deferrable) == 1, "only the library's own"


def test_a_table_that_cannot_be_filled_is_unknown(database: str) -> None:
    execute(database, "CREATE TABLE t (n int NOT NULL CHECK (n * n = 15129))")
    message = "^t cannot be filled, so that .* Give rows of it in tests/verification/project.py"
    with pytest.raises(RowsError, match=message):
        fill(database, LIBRARY)
    fill(database, replace(LIBRARY, rows={"t": [{"n": 123}]}))
    assert values(database, "t", "n") == {"123"}


def test_no_row_has_the_key_of_a_row_that_a_revision_inserts(database_at: Databases) -> None:
    url = database_at.filled("indexes")
    codes = values(url, "lending.fee", "code")
    assert len(codes) > 10
    assert not codes & {"late", "lost"}


def test_rows_fulfil_the_constraints_of_the_next_revision(
    make_database: Callable[..., str], migrated_template: str
) -> None:
    changes = (
        "ALTER TABLE book ADD UNIQUE (title, format)",
        "ALTER TABLE lending.payment ADD CHECK (amount > 1)",
        "ALTER TABLE staff ALTER COLUMN nickname SET NOT NULL",
        "ALTER TABLE staff ALTER COLUMN nickname TYPE varchar(30)",
        'ALTER TABLE book ADD FOREIGN KEY (pages) REFERENCES "user"',
        "CREATE UNIQUE INDEX ON lending.visit (branch_id, visited_at)",
        "CREATE UNIQUE INDEX ON author (lower(name)) WHERE born IS NULL",
    )
    plain, suitable, like = (make_database(migrated_template) for _ in range(3))
    execute(like, *changes)
    fill(plain, LIBRARY)
    fill(suitable, LIBRARY, like=like)
    for change in changes:
        with pytest.raises(psycopg.Error):
            execute(plain, change)
    execute(suitable, *changes)


def test_tables_grow(filled: str, make_database: Callable[..., str]) -> None:
    names = ["authorship", "book", "lending.loan", '"user"', "suggestion"]
    url = make_database(psycopg.conninfo.conninfo_to_dict(filled)["dbname"])
    grow(url, {name: {} for name in [*names, "country"]}, 2_000)
    numbers = dict(tables(url))
    assert all(numbers[name] >= 2_000 for name in names), numbers
    assert numbers["country"] == 26**2, "as many as there are keys"
