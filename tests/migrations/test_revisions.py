"""Each revision is safe to run on a live database, reversible, and declares what it does.

What that means is a function for each guarantee in ``verification/guarantees.py``.
"""

from pathlib import Path

import pytest
from alembic.script import Script

from tests.trading_bot import HISTORY, PROJECT
from verification import GUARANTEES, Databases, sealed
from verification.guarantees import Guarantee, problems


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.__name__)
@pytest.mark.parametrize("revision", HISTORY, ids=lambda revision: revision.revision)
def test_revision(revision: Script, guarantee: Guarantee, owned_databases: Databases) -> None:
    found = problems(guarantee, owned_databases, revision)
    assert not found, f"{PROJECT.path(revision)}: " + "\n\n".join(found)


def test_the_code_of_a_landed_revision_never_changes() -> None:
    report = sealed.report(PROJECT)
    assert not report, report


def test_the_history_is_linear() -> None:
    for revision in HISTORY:
        path = PROJECT.path(revision)
        assert not isinstance(revision.down_revision, tuple), f"{path} is a merge"
        assert not revision.dependencies, f"{path} has depends_on"
        assert not revision.branch_labels, f"{path} has a branch label"
    assert len(PROJECT.scripts.get_heads()) == 1, "two heads: put one revision after the other"
    assert len(PROJECT.scripts.get_bases()) == 1


def test_file_names_sort_by_history() -> None:
    files = [Path(revision.path).name for revision in HISTORY]
    assert files == sorted(files), "the date of a revision is after that of the one before it"
    assert len(files) == len(list(Path(PROJECT.scripts.versions).glob("*.py")))
