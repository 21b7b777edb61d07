"""The revisions of docs/scale.md pass what landed revisions pass, and ids end as it says."""

import psycopg
import pytest

from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import Revisions
from tests.trading_bot import ROOT
from verification import GUARANTEES, Databases
from verification.databases import insert, scalar
from verification.guarantees import Guarantee, follows_the_rules_for_code
from verification.recipes import recipes

PAGE = ROOT / "docs" / "scale.md"
INT_MAX = 2**31 - 1


def add_route(revisions: Revisions) -> list[str]:
    """Add the page's revisions, and return their names."""
    (route,) = recipes(PAGE, "##").values()
    names = [f"route{number}" for number, _ in enumerate(route.revisions, start=1)]
    for name, source in zip(names, route.revisions, strict=True):
        docstring, _, code = source.removeprefix('"""').partition('"""\n')
        revisions.add(name, code, docstring=docstring)
    return names


@pytest.mark.parametrize(
    "guarantee",
    [each for each in GUARANTEES if each is not follows_the_rules_for_code],
    ids=lambda guarantee: guarantee.__name__,
)
def test_the_route_to_citus(
    guarantee: Guarantee, revisions: Revisions, owned_databases: Databases
) -> None:
    names = add_route(revisions)
    project = revisions.project
    for name in names:
        script = project.scripts.get_revision(name)
        problems = "\n\n".join(guarantee(owned_databases.of(project), script))
        assert not problems, f"{name}: {problems}"


def test_the_last_id(database: str) -> None:
    with psycopg.connect(database) as connection:
        for table in ("users", "bot_configs"):
            insert(connection, table, MINIMAL_ROWS[table])
        scalar(database, "SELECT setval('trades_id_seq', %s)", INT_MAX - 1)
        connection.commit()
        assert insert(connection, "trades", MINIMAL_ROWS["trades"])["id"] == INT_MAX
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
            insert(connection, "trades", MINIMAL_ROWS["trades"])
