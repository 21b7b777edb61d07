"""The table in ``docs/old-code.md`` is up to date with the installed versions.

Some changes are measured here, all of them by ``python -m tools.document old-code``.
"""

import pytest

from tests.support.changes import CHANGES, Change
from tools.document import COMMAND, old_code, read
from verification import databases
from verification.roles import RoleDatabases

PAGE = read(old_code.PATH)
OUTDATED = f"{old_code.PATH} is out of date. Run: {COMMAND} {old_code.NAME}"
MEASURED = {"widen a varchar", "rename a table, with a view of the old name"}


@pytest.fixture(scope="module")
def measurer(role_databases: RoleDatabases) -> old_code.ChangeMeasurer:
    """Databases to which changes are applied."""
    return old_code.ChangeMeasurer(role_databases)


@pytest.mark.parametrize(
    "change", [change for change in CHANGES if change.title in MEASURED], ids=str
)
def test_the_table_has_the_measured_outcomes(
    change: Change, measurer: old_code.ChangeMeasurer, server: str
) -> None:
    if f"PostgreSQL {databases.release(server)} " not in PAGE:
        pytest.skip("the table is measured on another release of PostgreSQL")
    assert old_code.row(change, measurer.measure(change)) in PAGE.splitlines(), OUTDATED


def test_the_table_has_all_changes_and_the_versions_installed() -> None:
    assert not old_code.outdated(), OUTDATED
