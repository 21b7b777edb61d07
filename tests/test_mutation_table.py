"""``docs/conformance.md`` shows which tool reports which drift.

``pytest tests/test_mutation_table.py --refresh`` measures it again, on PostgreSQL 18.
"""

import re
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pytest_alembic import runner
from pytest_alembic.config import Config
from pytest_alembic.tests import test_model_definitions_match_ddl as _definitions_match

from models import Base
from tests.support import databases
from tests.support.conformance import Conformance
from tests.support.databases import ROOT
from tests.support.history import SCRIPTS
from tests.support.mutations import MUTATIONS, OUT_OF_REACH, Mutation, apply

FILE = ROOT / "docs" / "conformance.md"
COMMAND = "pytest tests/test_mutation_table.py --refresh"
START, END = f"<!-- Made by: {COMMAND} -->\n", "<!-- End -->\n"
BEST: dict[str, object] = {
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
}
YES, NO = "yes", "**no**"


def alembic_check(url: str, settings: dict[str, object]) -> bool:
    """Say whether ``alembic check`` finds anything, with settings as in ``env.py``."""
    with databases.sync_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts=settings)
        up_to_date = set(context.get_current_heads()) == set(SCRIPTS.get_heads())
        return not up_to_date or bool(compare_metadata(context, Base.metadata))


def pytest_alembic(url: str) -> bool:
    """Say whether pytest-alembic finds that models and database differ."""
    config = Config.from_raw_config(databases.alembic_config())
    with runner(config, databases.sync_engine(url)) as alembic_runner:
        try:
            _definitions_match(alembic_runner)
        except Exception:
            return True  # It cannot even compare.
    return False


def measure(
    make: Callable[[], str], conformance: Conformance, mutation: Mutation
) -> tuple[bool, ...]:
    url = make()
    assert apply(url, mutation), "needs a newer PostgreSQL"
    return (
        alembic_check(url, {}),
        alembic_check(url, BEST),
        pytest_alembic(url),
        bool(conformance.drift(url)),
    )


def table(rows: dict[Mutation, tuple[bool, ...]]) -> str:
    counts = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [
        f"| {len(rows)} mutations | `alembic check` | with its best settings | pytest-alembic"
        " | this suite |",
        "| --- | --- | --- | --- | --- |",
        "| **reported** | " + " | ".join(f"**{count}**" for count in counts) + " |",
    ]
    kind = ""
    for mutation, found in rows.items():
        if mutation.kind != kind:
            kind = mutation.kind
            lines.append(f"| *{kind}* | | | | |")
        answers = " | ".join(YES if answer else NO for answer in found)
        lines.append(f"| {mutation.title} | {answers} |")
    lines += ["", "Not reported, since a comparison of two databases cannot see it:", ""]
    lines += [f"- {title}. {reason}" for title, (_, _, reason) in OUT_OF_REACH.items()]
    return "\n".join(lines) + "\n"


def shown(text: str) -> dict[Mutation, tuple[bool, ...]]:
    """Read the table back."""
    rows, kind, known = {}, "", {str(mutation): mutation for mutation in MUTATIONS}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"\*[^*]+\*", cells[0]):
            kind = cells[0].strip("*")
        elif set(cells[1:]) <= {YES, NO} and len(cells) == 5:
            mutation = known.get(f"{kind}: {cells[0]}", Mutation(kind, cells[0], ""))
            rows[mutation] = tuple(cell == YES for cell in cells[1:])
    return rows


@pytest.mark.filterwarnings("ignore")  # Alembic and SQLAlchemy warn of some of the mutations.
def test_table_is_up_to_date(
    make_database: Callable[[str], str],
    migrated_template: str,
    conformance: Conformance,
    refresh: bool,
) -> None:
    before, rest = FILE.read_text().split(START)
    kept, after = rest.split(END)
    if refresh:
        kept = table(
            {
                mutation: measure(lambda: make_database(migrated_template), conformance, mutation)
                for mutation in MUTATIONS
            }
        )
        FILE.write_text(before + START + kept + END + after)
    rows = shown(kept)
    assert list(rows) == MUTATIONS, f"docs/conformance.md is out of date. Run: {COMMAND}"
    assert kept == table(rows), f"docs/conformance.md is out of date. Run: {COMMAND}"
    assert all(found[-1] for found in rows.values())
