"""Ids can be widened by the revisions in docs/scale.md.

The revisions follow the rules, and result in the schema of the widened models.
"""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import make_url

from models import Base
from tests.support.factories import MINIMAL_ROWS
from tests.support.probe_revisions import Revisions
from tests.trading_bot import HEAD, ROOT
from trading_bot_schema.drift.catalogue import Catalogue, differences, snapshot
from verification import Databases, databases
from verification.conformance import appended
from verification.databases import insert, scalar
from verification.observed_revision import ObservedRevision
from verification.recipes import recipes
from verification.values import FIRST_KEY

PAGE = ROOT / "docs" / "scale.md"
SCALE = recipes(PAGE, "##")
INT_MAX = 2**31 - 1


def add(url: str, table: str = "trades", **values: int) -> Any:
    """Insert a row, and return its id."""
    with psycopg.connect(url) as connection:
        return insert(connection, table, MINIMAL_ROWS[table] | values)["id"]


@pytest.fixture
def database_with_trades(database: str) -> str:
    for table in ("users", "bot_configs", "trades", "trades"):
        add(database, table)
    return database


def test_the_last_id(database_with_trades: str) -> None:
    scalar(database_with_trades, "SELECT setval('trades_id_seq', %s)", INT_MAX - 1)
    assert add(database_with_trades) == INT_MAX
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
        add(database_with_trades)


def test_widening_the_ids(
    revisions: Revisions, owned_databases: Databases, empty_database: str, database: str
) -> None:
    names = ["first", "second", "third"]
    recipe = SCALE["2³¹ trades"]
    for name, upgrade, lines in zip(names, recipe.revisions, recipe.docstrings, strict=True):
        revisions.add(name, upgrade, docstring=f"A probe.\n\n{lines}")
    project = revisions.project
    filled = owned_databases.of(project)
    urls: list[str] = []
    ids: list[int] = []
    of_a_bot = {"bot_config_id": FIRST_KEY, "user_id": FIRST_KEY}
    for name in names:
        script = project.scripts.get_revision(name)
        assert ObservedRevision(filled, script).broken_rules() == []
        earlier = str(make_url(urls[-1]).database) if urls else filled.filled_template(HEAD)
        urls.append(filled.make(earlier))
        project.migrate(urls[-1], name)
        ids.append(add(urls[-1], "trades", **of_a_bot))  # the application continues to work
    first, _, third = urls
    assert ids == sorted(set(ids)), "the sequence continues"
    assert scalar(first, "SELECT count(*) FROM trades WHERE id_bigint IS DISTINCT FROM id") == 0
    scalar(third, "SELECT setval('trades_id_seq', %s)", INT_MAX)
    assert add(third, "trades", **of_a_bot) == INT_MAX + 1
    # The schema is that of the models, with the wider column.
    build_widened_models(empty_database)
    project.migrate(database)
    expected, actual = (without_alembic(snapshot(url)) for url in (empty_database, database))
    unordered = appended(owned_databases)
    unordered["TABLE public.trades"] |= {"id"}
    report = differences(expected, actual, ("models", "database"), lambda _: str(PAGE), unordered)
    assert not report, report


def build_widened_models(url: str) -> None:
    metadata = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["trades"].columns["id"].type = sa.BigInteger()
    metadata.create_all(databases.sync_engine(url))


def without_alembic(catalogue: Catalogue) -> Catalogue:
    kept = {
        name: text for name, text in catalogue.objects.items() if "alembic_version" not in name
    }
    return replace(catalogue, objects=kept)
