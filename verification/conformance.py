"""The conformance check: a database has exactly what the models define."""

import inspect
import re
from collections.abc import Set
from pathlib import Path

from alembic import command

from models import Base
from trading_bot_schema.drift.catalogue import Catalogue, differences, snapshot
from verification import databases
from verification.databases import ROOT
from verification.history import HISTORY, Databases

MODEL_FILES = {
    mapper.class_.__tablename__: str(Path(inspect.getfile(mapper.class_)).relative_to(ROOT))
    for mapper in Base.registry.mappers
}


class Conformance:
    """Compares databases with the models."""

    def __init__(self, empty: str, database_at: Databases) -> None:
        """Build the models in an empty database, as an application without migrations would."""
        engine = databases.sync_engine(empty)
        Base.metadata.create_all(engine)
        command.stamp(databases.alembic_config(engine), "head")
        self.models = snapshot(empty)
        self.unordered = appended(database_at)

    def drift(self, url: str) -> str:
        """Return the differences of a database from the models; empty if there are none."""
        return self.differences(snapshot(url))

    def differences(self, catalogue: Catalogue) -> str:
        """Return the differences of a catalogue from the models."""
        return differences(self.models, catalogue, ("models", "database"), files, self.unordered)


def appended(database_at: Databases) -> dict[str, Set[str]]:
    """Return the columns that later revisions added to tables.

    PostgreSQL appends a column to an existing table, whereas the model may declare it anywhere.
    The columns that a table was created with are in the same order.
    """
    created: dict[str, Set[str]] = {}
    now: dict[str, Set[str]] = {}
    for revision in HISTORY:
        columns = snapshot(database_at.at(revision.revision)).columns
        now = {table: set(names) for table, names in columns.items()}
        # A table that was dropped and created again has no added columns.
        created = {table: created.get(table, names) for table, names in now.items()}
    return {table: names - created[table] for table, names in now.items()}


def files(sql: str) -> str:
    """Return the files to check for an object."""
    models = [file for table, file in MODEL_FILES.items() if re.search(rf"\b{table}\b", sql)]
    return ", ".join([*sorted(models), "alembic/versions/"])
