"""The table in ``docs/old-code.md``: the effect of each kind of change on old code.

The changes are in ``tests/support/changes.py``.
"""

import json
import re
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from models import Base
from tests.support import changes
from tests.support.changes import CHANGES, Change
from tools import ROOT
from tools.document import Measured, Texts, read, updated
from verification import databases, old_code
from verification.history import HISTORY, Databases
from verification.lint import SQUAWK
from verification.old_code.plans import Plans
from verification.roles import RoleDatabases, databases_for_roles
from verification.rows import FilledDatabases

NAME = "old-code"
PATH = "docs/old-code.md"
TOOLS = {
    "SQLAlchemy": "sqlalchemy",
    "asyncpg": "asyncpg",
    "Alembic": "alembic",
    "squawk": "squawk-cli",
}


@dataclass(frozen=True)
class Outcomes:
    """The results for a change."""

    old_code: str
    squawk: tuple[str, ...]
    """Rules that the change breaks."""
    alembic_check: bool
    """Whether Alembic reports that models and database differ."""


class ChangeMeasurer:
    """Databases to which changes are applied."""

    def __init__(self, roles: RoleDatabases) -> None:
        """Prepare a database at the head revision."""
        self._roles = roles
        migrated = Databases(roles.make)
        self._head = HISTORY[-1].revision
        self._filled = FilledDatabases(roles.make, migrated)
        self._migrated = migrated

    def measure(self, change: Change, plans: Plans | None = None) -> Outcomes:
        """Apply a change, and run every tool; ``plans`` determines which queries it slows."""

        def upgrade(url: str) -> None:
            changes.apply(url, change, self._roles.app)

        outcome = old_code.observe(self._roles, lambda: self._filled.at(self._head), upgrade)
        if plans is not None:
            copy = plans.copy(self._roles.make)
            outcome = replace(outcome, slows=frozenset(copy.slowed_by(upgrade)))
            self._roles.drop(copy.url)
        url = self._migrated.at(self._head)
        upgrade(url)
        outcomes = Outcomes(str(outcome), squawk(change), alembic_check(url))
        self._roles.drop(url)
        return outcomes

    def plans(self) -> Plans:
        """Return the plans of the hot queries at the head revision."""
        return Plans(self._migrated.at(self._head))


def squawk(change: Change) -> tuple[str, ...]:
    """Return the rules of squawk that a change breaks."""
    result = subprocess.run(  # noqa: S603 - our own command
        [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "json", "--stdin-filepath", "-"],
        input=f"BEGIN;\n{change.sql.format(app='app')};\nCOMMIT;\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(
        dict.fromkeys(finding["rule_name"] for finding in json.loads(result.stdout or "[]"))
    )


def alembic_check(url: str) -> bool:
    """Return whether Alembic reports a difference, with the settings of ``env.py``."""
    options = {"compare_type": True, "compare_server_default": True}
    with databases.sync_engine(url).connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About unsupported objects.
        context = MigrationContext.configure(connection, opts=options)
        return bool(compare_metadata(context, Base.metadata))


def stamp(postgresql: int) -> str:
    """Return the line with the versions in use."""
    tools = [f"{name} {version(package)}" for name, package in TOOLS.items()]
    return f"Measured on PostgreSQL {postgresql} with {', '.join(tools)}."


def row(change: Change, outcomes: Outcomes) -> str:
    """Return a change's line of the table."""
    verdict = outcomes.old_code.removesuffix(".")
    cells = [
        change.title,
        verdict if verdict == "works" else f"**{verdict}**",
        ", ".join(outcomes.squawk) or "nothing",
        "a difference" if outcomes.alembic_check else "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def content(postgresql: int, results: Mapping[Change, Outcomes]) -> Iterator[str]:
    """Yield the lines of the generated part of the page."""
    yield f"{stamp(postgresql)}\n"
    yield f"| {len(results)} changes | old code | squawk | `alembic check` |"
    yield "| --- | --- | --- | --- |"
    kind = ""
    for change, outcomes in results.items():
        if change.kind != kind:
            kind = change.kind
            yield f"| *{kind}* | | | |"
        yield row(change, outcomes)


def page(postgresql: int, results: Mapping[Change, Outcomes]) -> str:
    """Return the text of the page."""
    return updated(PATH, NAME, "\n".join([*content(postgresql, results), ""]))


def texts(server: str) -> Texts:
    """Measure every change and return the page."""
    with databases_for_roles(server) as roles:
        measurer = ChangeMeasurer(roles)
        plans = measurer.plans()
        results = {change: measurer.measure(change, plans) for change in CHANGES}
    return {PATH: page(databases.release(server), results)}


def outdated() -> list[str]:
    """Return the page if it is about other changes or versions."""

    def without_outcomes(text: str) -> str:
        return re.sub(r"(?m)^(\| [^|]+ \|) .*|PostgreSQL \d+", r"\1", text)

    expected = page(0, dict.fromkeys(CHANGES, Outcomes("works.", (), False)))
    return [] if without_outcomes(read(PATH)) == without_outcomes(expected) else [PATH]


DOCUMENT = Measured(NAME, texts, outdated)
