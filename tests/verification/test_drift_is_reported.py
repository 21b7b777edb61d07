"""All drift of a database from models and migrations is reported, and nothing else."""

from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support import mutations
from tests.support.drift import ReferenceSchema
from tests.support.mutations import HARMLESS, MUTATIONS, NOT_DETECTABLE, Mutation
from trading_bot_schema.drift.catalogue import snapshot
from verification.conformance import Conformance


def apply(url: str, mutation: Mutation) -> None:
    try:
        if not mutations.apply(url, mutation):
            pytest.skip(f"needs PostgreSQL {mutation.since}")
    except InsufficientPrivilege as error:
        pytest.skip(f"the user of the test server may not: {error}")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_drift_is_reported(
    mutation: Mutation, database: str, conformance: Conformance, reference_schema: ReferenceSchema
) -> None:
    apply(database, mutation)
    catalogue = snapshot(database)
    assert conformance.differences(catalogue)
    assert reference_schema.differences(catalogue)


@pytest.mark.parametrize("mutation", HARMLESS, ids=str)
def test_harmless_change_is_not_reported(
    mutation: Mutation, database: str, conformance: Conformance, reference_schema: ReferenceSchema
) -> None:
    apply(database, mutation)
    catalogue = snapshot(database)
    assert not (report := conformance.differences(catalogue)), report
    assert not (report := reference_schema.differences(catalogue)), report


@pytest.mark.parametrize("title", NOT_DETECTABLE)
def test_undetectable_change_is_not_reported(
    title: str, database: str, conformance: Conformance
) -> None:
    name = f"test_{uuid4().hex}"
    do, undo, _ = (text.format(name=name) for text in NOT_DETECTABLE[title])
    apply(database, Mutation("not detectable", title, do))
    report = conformance.drift(database)
    if undo:
        apply(database, Mutation("not detectable", title, undo))
    assert not report, "it is reported: move it to DRIFT"
