"""Writes the values of old code: each in turn, in one column of one row, then rolled back."""

import json
from collections.abc import Iterable, Iterator

import psycopg
from psycopg import errors

from verification.old_code.tables import OldTable, Texts, quoted

# Undoes each statement by an exception after it. NULL: a required statement failed.
ATTEMPT = """
CREATE FUNCTION pg_temp.attempt(needed text, statements json) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    is_prepared boolean;
    stored boolean;
BEGIN
    FOR statement IN SELECT json_array_elements_text(statements) LOOP
        is_prepared := false;
        BEGIN
            EXECUTE needed;
            is_prepared := true;
            EXECUTE statement INTO stored;
            SET CONSTRAINTS ALL IMMEDIATE;
            RAISE EXCEPTION USING ERRCODE = CASE WHEN stored THEN 'UNDO0' ELSE 'OTHER' END;
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT CASE WHEN is_prepared THEN sqlstate END;
        END;
    END LOOP;
END $$
"""
INSERT_ROWS = """
CREATE OR REPLACE FUNCTION pg_temp.insert_rows(statements json) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN SELECT json_array_elements_text(statements) LOOP
        BEGIN
            EXECUTE statement;
            RETURN NEXT '';
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT sqlstate;
        END;
    END LOOP;
END $$
"""
NO_OP = "SELECT 1"
ACCEPTED, OTHER_VALUE = "UNDO0", "OTHER"
FOREIGN_KEY_VIOLATION = "23503"

Statement = tuple[str, str]
"""The name of a statement, such as ``update users.email``, and its SQL."""


def insert_rows(connection: psycopg.Connection[tuple[str]], old: OldTable) -> list[str]:
    """Insert the rows that a table had; return the SQLSTATE of each error, or an empty text."""
    connection.execute(INSERT_ROWS)
    statements = json.dumps([_insert(old, texts) for _, texts in old.rows])
    results = connection.execute("SELECT pg_temp.insert_rows(%s)", [statements])
    return [result for (result,) in results]


class Values:
    """A session of the application that writes values before a revision and after it."""

    def __init__(
        self, connection: psycopg.Connection[tuple[str | None]], tables: Iterable[OldTable]
    ) -> None:
        """Determine which values are accepted before the revision."""
        self._connection = connection
        self._tables = list(tables)
        connection.execute(ATTEMPT)
        self._accepted: list[tuple[OldTable, str, list[Statement]]] = []
        for old in self._tables:
            for needed, statements in _statements(old):
                results = zip(statements, self._attempts(needed, statements), strict=True)
                accepted = [statement for statement, result in results if result == ACCEPTED]
                self._accepted.append((old, needed, accepted))

    def _attempts(self, needed: str, statements: list[Statement]) -> list[str | None]:
        """Return the SQLSTATE of each; None: a required statement failed."""
        parameters = [needed, json.dumps([sql for _, sql in statements])]
        results = self._connection.execute("SELECT pg_temp.attempt(%s, %s)", parameters)
        return [result for (result,) in results]

    def refused(self) -> set[str]:
        """Return the statements that fail after the revision with a value accepted before."""
        return {
            name
            for old, needed, statements in self._accepted
            for (name, _), result in zip(
                statements, self._attempts(needed, statements), strict=True
            )
            if result not in (ACCEPTED, None)
            and not (result == OTHER_VALUE and name.startswith("delete"))  # The row is gone.
            and (old.is_usable or result not in (OTHER_VALUE, FOREIGN_KEY_VIOLATION))
        } | {f"rows of {old.name}" for old in self._tables if not self._rows_can_be_written(old)}

    def _rows_can_be_written(self, old: OldTable) -> bool:
        """Return whether all existing rows can be written, if one of them can."""
        for column in old.columns:
            update = f"UPDATE {old.name} SET {quoted(column.name)} = {quoted(column.name)}"
            for statement in (f"{update} WHERE {_is_row(old, old.base_texts)}", update):
                try:
                    with self._connection.transaction(force_rollback=True):
                        self._connection.execute(statement.encode())
                except errors.Error:
                    if statement == update:
                        return False
                    break  # No row of this column can be written.
            else:
                return True
        return True


def _statements(old: OldTable) -> Iterator[tuple[str, list[Statement]]]:
    """Yield the UPDATEs and INSERTs of every value, and a DELETE of every row.

    Each with the required statements.
    """
    updates, inserts = [], []
    for column in old.columns:
        for value in () if column in old.key else old.values[column.name]:
            written = _value(old, column.name, value)
            updates.append(
                (
                    f"update {old.name}.{column.name}",
                    f"UPDATE {old.name} SET {quoted(column.name)} = {written}"
                    f" WHERE {_is_row(old, old.base_texts)}"
                    f" RETURNING {_is_stored(old, column.name, value)}",
                )
            )
            row = {**old.spare_texts, column.name: value}
            returning = _is_stored(old, column.name, value)
            inserts.append(
                (f"insert into {old.name}", f"{_insert(old, row)} RETURNING {returning}")
            )
    needed = "; ".join(_insert(parent, parent.spare_texts) for parent in old.parents())
    if old.spare is old.base:
        needed = f"DELETE FROM {old.name} WHERE {_is_row(old, old.base_texts)}"
    deletes = [
        (
            f"delete from {old.name}",
            f"DELETE FROM {old.name} WHERE {_is_row(old, texts)} RETURNING true",
        )
        for _, texts in old.rows
    ]
    yield NO_OP, [*updates, *deletes]
    yield needed or NO_OP, inserts


def _insert(old: OldTable, row: Texts) -> str:
    names = [column.name for column in old.columns]
    values = [_value(old, name, row[name]) for name in names]
    return f"INSERT INTO {old.name} ({', '.join(map(quoted, names))}) VALUES ({', '.join(values)})"


def _value(old: OldTable, column: str, value: str | None) -> str:
    return "NULL" if value is None else f"CAST({literal(value)} AS {old.types[column]})"


def _is_row(old: OldTable, row: Texts) -> str:
    return " AND ".join(
        f"{quoted(column.name)} IS NOT DISTINCT FROM {_value(old, column.name, row[column.name])}"
        for column in old.key
    )


def _is_stored(old: OldTable, column: str, value: str | None) -> str:
    """Return the condition that a column has a value, read with its old type."""
    stored = f"CAST({quoted(column)} AS {old.types[column]})::text"
    same = f"{stored} IS NOT DISTINCT FROM {_value(old, column, value)}::text"
    if old.types[column].startswith("timestamp") and old.table.columns[column].server_default:
        # The database may set a time that it sets by default.
        return f"({same} OR {quoted(column)} >= transaction_timestamp())"
    return same


def literal(value: str) -> str:
    """Return a text in SQL."""
    return "'" + value.replace("'", "''") + "'"
