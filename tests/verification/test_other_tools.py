"""The table in ``docs/conformance.md``: how much drift other tools report. Needs ``--tools``."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pytest_alembic import runner
from pytest_alembic.config import Config
from pytest_alembic.tests import test_model_definitions_match_ddl as definitions_match

from tests.verification.mutations import DRIFT, apply
from tests.verification.project import LIBRARY, ROOT
from tests.verification.schema.models import OPTIONS
from verification import Databases
from verification.databases import release, sync_engine

PAGE = ROOT / "docs" / "conformance.md"
BEST_SETTINGS: dict[str, object] = {
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]
}


def alembic_check(url: str, settings: dict[str, object]) -> bool:
    """Return whether ``alembic check`` reports a difference."""
    with sync_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts=OPTIONS | settings)
        heads = ScriptDirectory.from_config(LIBRARY.config()).get_heads()
        up_to_date = set(context.get_current_heads()) == set(heads)
        return not up_to_date or bool(compare_metadata(context, LIBRARY.metadata))


def pytest_alembic(url: str) -> bool:
    """Return whether pytest-alembic reports that models and database differ."""
    config = Config.from_raw_config(LIBRARY.config())
    with runner(config, sync_engine(url)) as alembic_runner:
        try:
            definitions_match(alembic_runner)
        except Exception:
            return True  # The comparison itself may also fail.
    return False


def lines(answers: dict[str, Counter[str]], server: str) -> Iterator[str]:
    tools = [f"{name} {version(name)}" for name in ("alembic", "sqlalchemy", "pytest-alembic")]
    yield f"Measured on PostgreSQL {release(server)} with {', '.join(tools)}.\n"
    yield "| Drift | `alembic check` | with its best settings | pytest-alembic | this suite |"
    yield "| --- | --- | --- | --- | --- |"
    for kind, counts in answers.items():
        cells = (str(counts[tool]) for tool in ("check", "best", "pytest", "all"))
        yield f"| {kind} | {' | '.join(cells)} |"


@pytest.mark.filterwarnings("ignore")
def test_what_other_tools_report(
    pytestconfig: pytest.Config,
    server: str,
    make_database: Callable[..., str],
    database_at: Databases,
) -> None:
    if not pytestconfig.getoption("--tools"):
        pytest.skip("takes minutes: pytest --tools")
    template = database_at.template(LIBRARY.head)
    answers: dict[str, Counter[str]] = {}
    for mutation in (each for each in DRIFT if each.since <= release(server)):
        url = make_database(template)
        apply(url, {mutation: "public, lending"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Alembic and SQLAlchemy warn of some of the changes.
            answers.setdefault(mutation.kind, Counter()).update(
                check=alembic_check(url, {}),
                best=alembic_check(url, BEST_SETTINGS),
                pytest=pytest_alembic(url),
                all=1,
            )
    answers["**all**"] = sum(answers.values(), Counter())
    expected = "\n".join(lines(answers, server))
    assert expected in PAGE.read_text(encoding="utf-8"), f"the page should have:\n\n{expected}"
