"""All drift of a database is reported by both comparisons, and nothing else.

They are the suite's comparison of models and migrations, and the one of the command ``drift``.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import MetaData, Table

from tests.support.drift import ReferenceSchema
from tests.verification.mutations import DRIFT, NO_DRIFT, NOT_DETECTABLE, Mutation, apply
from tests.verification.project import LIBRARY
from trading_bot_schema.drift.catalogue import differences, snapshot
from verification import Databases
from verification.databases import execute, release, sync_engine


@pytest.fixture(scope="session")
def reference(database_at: Databases) -> ReferenceSchema:
    return ReferenceSchema(database_at.at(LIBRARY.head))


def reports(reference: ReferenceSchema, url: str) -> tuple[str, str]:
    """Return the reports of both comparisons."""
    live = snapshot(url)
    first = differences(reference.catalogue, live, ("expected", "database"), None, {})
    return first, reference.differences(live)


def tables(mutation: Mutation) -> list[Table]:
    """Return the tables of the library that a change names, and those that they reference."""
    metadata = MetaData(naming_convention=LIBRARY.metadata.naming_convention)
    for table in LIBRARY.metadata.tables.values():
        table.to_metadata(metadata)
    all_tables = metadata.tables.values()
    wanted = [
        table for table in all_tables if re.search(rf"\b{table.name}(_id_seq)?\b", mutation.sql)
    ]
    for table in wanted:  # which grows
        referred = [key.referred_table for key in table.foreign_key_constraints]
        wanted += [other for other in referred if other not in wanted]
    return wanted


def detected(
    mutations: Sequence[Mutation], make_database: Callable[..., str]
) -> Iterator[tuple[Mutation, bool, bool]]:
    """Make each change in a schema of its own; yield whether each comparison reports it."""
    url = make_database()
    with sync_engine(url).begin() as connection:
        for number, mutation in enumerate(mutations):
            connection.exec_driver_sql(f"CREATE SCHEMA m{number}")
            connection.exec_driver_sql(f"SET search_path = m{number}")
            connection.execution_options(schema_translate_map={"lending": f"m{number}"})
            wanted = tables(mutation)
            metadata = wanted[0].metadata if wanted else MetaData()
            metadata.create_all(connection, tables=wanted, checkfirst=False)
    reference = ReferenceSchema(url)
    apply(url, {mutation: f"m{number}" for number, mutation in enumerate(mutations)})
    first, second = reports(reference, url)
    for number, mutation in enumerate(mutations):
        named = re.compile(rf"\bm{number}\b")
        yield mutation, bool(named.search(first)), bool(named.search(second))


@pytest.mark.parametrize(("mutations", "is_drift"), [(DRIFT, True), (NO_DRIFT, False)])
def test_drift_in_a_schema_is_reported_and_nothing_else(
    mutations: list[Mutation], is_drift: bool, server: str, make_database: Callable[..., str]
) -> None:
    in_schemas = [each for each in mutations if not each.alone and each.since <= release(server)]
    for mutation, *by in detected(in_schemas, make_database):
        assert by == [is_drift, is_drift], mutation


@pytest.mark.parametrize("mutation", [each for each in DRIFT if each.alone], ids=str)
def test_drift_of_a_database_is_reported(
    mutation: Mutation, database: str, reference: ReferenceSchema
) -> None:
    try:
        apply(database, {mutation: "public, lending"})
    except InsufficientPrivilege as error:
        pytest.skip(f"the user of the test server may not: {error}")
    assert all(reports(reference, database))


@pytest.mark.parametrize("mutation", NOT_DETECTABLE, ids=str)
def test_undetectable_change_is_not_reported(
    mutation: Mutation, database: str, reference: ReferenceSchema
) -> None:
    apply(database, {mutation: "public, lending"})
    found = reports(reference, database)
    execute(database, "DROP ROLE IF EXISTS test_not_detectable")
    assert found == ("", ""), "it is reported: move it to another kind"
