"""The table in ``docs/conformance.md``: which tool reports which mutation of a database.

The mutations are in ``tests/support/mutations.py``.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from models import Base
from tests.support.mutations import MUTATIONS, NOT_DETECTABLE, Mutation, apply
from tools.document import Measured, Texts, read, updated
from verification import databases

if TYPE_CHECKING:
    from verification.conformance import Conformance

NAME = "mutation-table"
PATH = "docs/conformance.md"
TOOLS = {"Alembic": "alembic", "SQLAlchemy": "sqlalchemy", "pytest-alembic": "pytest-alembic"}
BEST_SETTINGS: dict[str, object] = {
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
}
YES, NO = "yes", "**no**"
Answers = Sequence[bool]
"""Whether each column's tool reports a mutation."""


@dataclass(frozen=True)
class Table:
    """The results of the measurement."""

    postgresql: int
    """The major version of the server."""
    answers: Mapping[Mutation, Answers]


def stamp(postgresql: int) -> str:
    """Return the line with the versions in use."""
    tools = [f"{name} {version(package)}" for name, package in TOOLS.items()]
    return f"Measured on PostgreSQL {postgresql} with {', '.join(tools)}."


def row(mutation: Mutation, answers: Answers) -> str:
    """Return a mutation's line of the table."""
    cells = [mutation.title, *(YES if answer else NO for answer in answers)]
    return f"| {' | '.join(cells)} |"


def content(table: Table) -> Iterator[str]:
    """Yield the lines of the generated part of the page."""
    counts = [f"**{sum(column)}**" for column in zip(*table.answers.values(), strict=True)]
    yield f"{stamp(table.postgresql)}\n"
    yield (
        f"| {len(table.answers)} mutations | `alembic check` | with its best settings"
        " | pytest-alembic | this suite |"
    )
    yield "| --- | --- | --- | --- | --- |"
    yield f"| **reported** | {' | '.join(counts)} |"
    kind = ""
    for mutation, answers in table.answers.items():
        if mutation.kind != kind:
            kind = mutation.kind
            yield f"| *{kind}* | | | | |"
        yield row(mutation, answers)
    yield "\nNot reported, since a comparison of two databases cannot detect it:\n"
    for title, (_, _, reason) in NOT_DETECTABLE.items():
        yield f"- {title}. {reason}"


def page(table: Table) -> str:
    """Return the text of the page."""
    return updated(PATH, NAME, "\n".join([*content(table), ""]))


def measure(url: str, mutation: Mutation, conformance: "Conformance") -> Answers:
    """Apply a mutation to a database at the head revision, and run every tool.

    Raises:
        ValueError: The server is too old for the mutation.
    """
    if not apply(url, mutation):
        raise ValueError(
            f'The mutation "{mutation}" needs PostgreSQL {mutation.since}: unset'
            " TEST_DATABASE_URL, or set it to such a server"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Alembic and SQLAlchemy warn of some of the mutations.
        return (
            alembic_check(url, {}),
            alembic_check(url, BEST_SETTINGS),
            pytest_alembic(url),
            bool(conformance.drift(url)),
        )


def alembic_check(url: str, settings: dict[str, object]) -> bool:
    """Return whether ``alembic check`` reports a difference, with settings as in ``env.py``."""
    scripts = ScriptDirectory.from_config(databases.alembic_config())
    with databases.sync_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts=settings)
        up_to_date = set(context.get_current_heads()) == set(scripts.get_heads())
        return not up_to_date or bool(compare_metadata(context, Base.metadata))


def pytest_alembic(url: str) -> bool:
    """Return whether pytest-alembic reports that models and database differ."""
    from pytest_alembic import runner
    from pytest_alembic.config import Config
    from pytest_alembic.tests import test_model_definitions_match_ddl as definitions_match

    config = Config.from_raw_config(databases.alembic_config())
    with runner(config, databases.sync_engine(url)) as alembic_runner:
        try:
            definitions_match(alembic_runner)
        except Exception:
            return True  # The comparison itself may also fail.
    return False


def texts(server: str) -> Texts:
    """Measure every mutation and return the page.

    Raises:
        ValueError: The server is too old for a mutation, or the page lacks the marks.
    """
    from verification.conformance import Conformance
    from verification.history import Databases

    with databases.database_factory(server) as make_database:
        database_at = Databases(make_database)
        conformance = Conformance(make_database(), database_at)
        template = str(make_url(database_at.at("head")).database)
        answers = {}
        for mutation in MUTATIONS:
            with databases.database(server, f"{template}_mutated", template) as url:
                answers[mutation] = measure(url, mutation, conformance)
    return {PATH: page(Table(databases.release(server), answers))}


def outdated() -> list[str]:
    """Return the page if it differs in anything but the answers and PostgreSQL's version."""

    def without_answers(text: str) -> str:
        return re.sub(rf"{YES}|{re.escape(NO)}|\*\*\d+\*\*|PostgreSQL \d+", "", text)

    expected = page(Table(0, dict.fromkeys(MUTATIONS, (True,) * 4)))
    return [] if without_answers(read(PATH)) == without_answers(expected) else [PATH]


DOCUMENT = Measured(NAME, texts, outdated)
