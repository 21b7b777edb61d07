"""The changes in ``mutations.sql``: drift, changes that are none, and what cannot be detected."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

PATH = Path(__file__).with_name("mutations.sql")


@dataclass(frozen=True)
class Mutation:
    """A change of a database at the head revision of the library.

    Attributes:
        since: The first release of PostgreSQL that supports it.
        alone: Whether it needs a database of its own: it changes more than a schema.
    """

    kind: str
    title: str
    since: int
    alone: bool
    sql: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"


def mutations() -> list[Mutation]:
    found = []
    _, *sections = re.split(r"^-- # ", PATH.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        kind, *entries = re.split(r"^-- ", section, flags=re.MULTILINE)
        for entry in entries:
            heading, _, sql = entry.partition("\n")
            title, *notes = re.split(r" \((?=\d+\)|alone\))", heading)
            since = next((int(note[:-1]) for note in notes if note[0].isdigit()), 15)
            found.append(Mutation(kind.strip(), title, since, "alone)" in notes, sql.strip()))
    return found


NO_DRIFT = [mutation for mutation in mutations() if mutation.kind == "no drift"]
NOT_DETECTABLE = [mutation for mutation in mutations() if mutation.kind == "not detectable"]
DRIFT = [each for each in mutations() if each not in (*NO_DRIFT, *NOT_DETECTABLE)]


def apply(url: str, changes: Mapping[Mutation, str]) -> None:
    """Make changes of a database, each with names in a search path."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        for mutation, search_path in changes.items():
            connection.execute("DISCARD ALL")
            connection.execute(f"SET search_path = {search_path}".encode())
            connection.execute(mutation.sql.encode())
