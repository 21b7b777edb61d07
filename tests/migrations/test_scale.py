"""The revisions of docs/scale.md pass what landed revisions pass, and ids end as it says."""

import psycopg
import pytest

from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import Revisions
from tests.support.recipes import recipes
from tests.trading_bot import ROOT
from verification import GUARANTEES, Databases
from verification.databases import insert, scalar
from verification.guarantees import Guarantee

PAGE = ROOT / "docs" / "scale.md"
INT_MAX = 2**31 - 1


def route() -> list[str]:
    """Return the page's revisions."""
    (revisions,) = recipes(PAGE).values()
    return revisions


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.__name__)
def test_the_route_to_citus(
    guarantee: Guarantee, revisions: Revisions, owned_databases: Databases
) -> None:
    scripts = revisions.add_recipe(route())
    databases = owned_databases.of(revisions.project)
    for script in scripts:
        problems = "\n\n".join(guarantee(databases, script))
        assert not problems, f"{script.doc}: {problems}"


def test_the_last_id(database: str) -> None:
    with psycopg.connect(database) as connection:
        for table in ("users", "bot_configs"):
            insert(connection, table, MINIMAL_ROWS[table])
        scalar(database, "SELECT setval('trades_id_seq', %s)", INT_MAX - 1)
        connection.commit()
        assert insert(connection, "trades", MINIMAL_ROWS["trades"])["id"] == INT_MAX
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
            insert(connection, "trades", MINIMAL_ROWS["trades"])
