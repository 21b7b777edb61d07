"""The conformance check and the command ``drift`` report all drift, and nothing else."""

from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support import mutations
from tests.support.conformance import Conformance
from tests.support.drift import Built
from tests.support.mutations import HARMLESS, MUTATIONS, OUT_OF_REACH, Mutation
from trading_bot_schema.drift.catalogue import snapshot


def apply(url: str, mutation: Mutation) -> None:
    try:
        if not mutations.apply(url, mutation):
            pytest.skip(f"PostgreSQL {mutation.since} has it first")
    except InsufficientPrivilege as error:
        pytest.skip(f"the user of the test server may not: {error}")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_drift_is_reported(
    mutation: Mutation, database: str, conformance: Conformance, built: Built
) -> None:
    apply(database, mutation)
    catalogue = snapshot(database)
    assert conformance.differences(catalogue)
    assert built.differences(catalogue)


@pytest.mark.parametrize("mutation", HARMLESS, ids=str)
def test_harmless_change_is_not_reported(
    mutation: Mutation, database: str, conformance: Conformance, built: Built
) -> None:
    apply(database, mutation)
    catalogue = snapshot(database)
    assert not (report := conformance.differences(catalogue)), report
    assert not (report := built.differences(catalogue)), report


@pytest.mark.parametrize("title", OUT_OF_REACH)
def test_what_is_out_of_reach(title: str, database: str, conformance: Conformance) -> None:
    name = f"test_{uuid4().hex}"
    do, undo, _ = (text.format(name=name) for text in OUT_OF_REACH[title])
    apply(database, Mutation("out of reach", title, do))
    report = conformance.drift(database)
    if undo:
        apply(database, Mutation("out of reach", title, undo))
    assert not report, "it is reported: move it to DRIFT"
