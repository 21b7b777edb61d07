"""The conformance check: a database has exactly what the models define."""

import re
from collections.abc import Mapping, Set

from alembic import command

from trading_bot_schema.drift.catalogue import Columns, added, differences, snapshot
from verification.databases import sync_engine
from verification.history import Databases

ADVICE = {
    r"database: .* NOT VALID; \(only here\)": (
        "A constraint is NOT VALID: VALIDATE it in a revision, in a transaction of its own."
    ),
    r"(TRIGGER|FUNCTION) .*\n  models:   -": (
        "The models lack a function or trigger: give its statement to the event of a table, as in"
        " “Add a function or a trigger”."
    ),
}
"""By a pattern of the differences: what to do about them."""


class Conformance:
    """Compares databases with the models."""

    def __init__(self, databases: Databases) -> None:
        """Build the models in an empty database, as an application without migrations would."""
        project, url = databases.project, databases.make()
        engine = sync_engine(url)
        project.metadata.create_all(engine)
        command.stamp(project.config(engine), "head")
        self._project = project
        self.models = snapshot(url)
        self.unordered = appended(databases)

    def drift(self, url: str) -> str:
        """Return the differences of a database from the models; empty if there are none."""
        sides = ("models", "database")
        report = differences(self.models, snapshot(url), sides, self._files, self.unordered)
        advice = [text for pattern, text in ADVICE.items() if re.search(pattern, report)]
        guide = f"See {self._project.guide_name}."
        return "\n".join([report, *advice, *([guide] if advice else [])])

    def _files(self, sql: str) -> str:
        """Return the files to check for an object."""
        models = self._project.model_files
        named = {models[table] for table in models if re.search(rf"\b{table}\b", sql)}
        return ", ".join([*sorted(named), "the revisions"])


def appended(databases: Databases) -> Mapping[str, Set[str]]:
    """Return the columns that later revisions added to tables, also in place of others.

    PostgreSQL appends a column to an existing table, whereas the model may declare it anywhere.
    The columns that a table was created with are in the same order.
    """
    created: dict[str, Mapping[str, int]] = {}
    now: Columns = {}
    for revision in databases.project.history:
        now = databases.schema(revision.revision).columns
        # A table that was dropped and created again has no added columns.
        created = {table: created.get(table, columns) for table, columns in now.items()}
    return added(created, now)
