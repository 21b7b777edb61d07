"""The SQL of a revision depends on itself and the database only.

It is the same at another time, in another environment, with another random seed, and online as
offline; no revision reads files or environment variables, or uses the network. Otherwise
two databases that ran the same revisions could differ.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import other_conditions
from tests.support.other_conditions import Statements
from verification.databases import ROOT

ENVIRONMENTS = [
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LANG": "C", "USER": "somebody"},
    {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LANG": "tr_TR.UTF-8", "USER": "else"},
]
KEPT = {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"}


@pytest.fixture(scope="module")
def expected() -> Statements:
    """The statements under the current conditions."""
    return other_conditions.offline()


@pytest.fixture(scope="module")
def other_results(make_database: Callable[[], str]) -> list[dict[str, Any]]:
    """Results under other conditions."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.other_conditions", make_database()],
            cwd=ROOT,
            env=kept | {"HOME": "/nonexistent"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in ENVIRONMENTS
    ]
    results = []
    for process in running:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        results.append(json.loads(stdout))
    return results


def test_the_sql_is_the_same(expected: Statements, other_results: list[dict[str, Any]]) -> None:
    assert any(expected.values())
    for result, environment in zip(other_results, ENVIRONMENTS, strict=True):
        for conditions, statements in result["runs"].items():
            for step in expected:
                assert statements[step] == expected[step], (
                    f"{step} has other SQL {conditions}, with {environment}. Write the SQL out:"
                    " databases that ran it on another day or elsewhere would differ"
                )


def test_no_revision_depends_on_anything_else(other_results: list[dict[str, Any]]) -> None:
    forbidden = {line for result in other_results for line in result["forbidden"]}
    assert not forbidden, "A revision depends on itself and the database only"
