"""The table in ``docs/conformance.md`` is up to date with the installed versions of the tools.

One mutation of each kind is measured here, all mutations by ``tox -e documents``.
"""

import pytest

from tests.support.mutations import MUTATIONS, Mutation
from tools.document import COMMAND, mutation_table, read
from verification import databases
from verification.conformance import Conformance

FIRST_OF_KIND = {mutation.kind: mutation for mutation in reversed(MUTATIONS)}.values()
PAGE = read(mutation_table.PATH)
OUTDATED = f"{mutation_table.PATH} is out of date. Run: {COMMAND} {mutation_table.NAME}"


@pytest.mark.parametrize("mutation", FIRST_OF_KIND, ids=str)
def test_the_tools_report_as_documented(
    mutation: Mutation, database: str, conformance: Conformance
) -> None:
    if f"PostgreSQL {databases.release(database)} " not in PAGE:
        pytest.skip("the table is measured on another release of PostgreSQL")
    answers = mutation_table.measure(database, mutation, conformance)
    assert mutation_table.row(mutation, answers) in PAGE.splitlines(), OUTDATED


def test_the_versions_are_the_installed_ones() -> None:
    assert mutation_table.stamp(18) in PAGE, OUTDATED


def test_this_suite_reports_every_mutation() -> None:
    assert f"**{len(MUTATIONS)}** |" in PAGE, OUTDATED
