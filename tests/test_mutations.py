"""The conformance check reports every kind of drift, and nothing else.

The mutations are in ``tests/mutations.py``.
"""

import pytest
from psycopg.errors import InsufficientPrivilege

from tests import mutations
from tests.conformance import Conformance
from tests.mutations import HARMLESS, MUTATIONS, Mutation


def apply(url: str, mutation: Mutation) -> None:
    try:
        if not mutations.apply(url, mutation):
            pytest.skip(f"PostgreSQL {mutation.since} has it first")
    except InsufficientPrivilege as error:
        pytest.skip(f"the user of the test server may not: {error}")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_drift_is_reported(mutation: Mutation, database: str, conformance: Conformance) -> None:
    apply(database, mutation)
    assert conformance.drift(database)


@pytest.mark.parametrize("mutation", HARMLESS, ids=str)
def test_harmless_change_is_not_reported(
    mutation: Mutation, database: str, conformance: Conformance
) -> None:
    apply(database, mutation)
    assert not (report := conformance.drift(database)), report


def test_no_change_is_not_reported(database: str, conformance: Conformance) -> None:
    assert not (report := conformance.drift(database)), report
