"""What docs/scale.md says about running out of ids, and the revisions that it shows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from models import Base
from tests.support import databases
from tests.support.application import ONCE
from tests.support.factories import SMALLEST
from tests.support.generated_rows import FIRST_KEY
from tests.support.measured import Measured
from tests.support.recipes import SCALE
from trading_bot_schema.drift.catalogue import Catalogue, differences, snapshot

PAGE = databases.ROOT / "docs" / "scale.md"
INT_MAX = 2**31 - 1


def insert(url: str, table: str = "trades", **values: int) -> Any:
    """Insert a row, and return its id."""
    row = SMALLEST[table] | values
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    statement = f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id"
    with psycopg.connect(url) as connection:
        (row_id,) = connection.execute(statement, row).fetchone() or (None,)
        return row_id


@pytest.fixture
def database_with_trades(database: str) -> str:
    for table in ("users", "bot_configs", "trades", "trades"):
        insert(database, table)
    return database


def test_the_last_id(database_with_trades: str) -> None:
    with psycopg.connect(database_with_trades) as connection:
        connection.execute("SELECT setval('trades_id_seq', %s)", [INT_MAX - 1])
    assert insert(database_with_trades) == INT_MAX
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
        insert(database_with_trades)


def test_widening_the_ids(measure: Callable[..., Measured], empty_database: str) -> None:
    widening = measure(SCALE["2³¹ trades"].revisions)
    assert widening.broken_rules() == []
    assert widening.application == ONCE
    # The application goes on after each revision.
    first, second, third = [observed.url for observed in widening.observed]
    assert insert_of(first) < insert_of(second) < insert_of(third), "the sequence goes on"
    with psycopg.connect(first) as connection:
        other = "SELECT FROM trades WHERE id_bigint IS DISTINCT FROM id"
        assert connection.execute(other).fetchall() == []
    with psycopg.connect(third) as connection:
        connection.execute("SELECT setval('trades_id_seq', %s)", [INT_MAX])
    assert insert_of(third) == INT_MAX + 1
    # The schema is the one of the models, with the wider column.
    build_widened_models(empty_database)
    wanted, found = (without_alembic(snapshot(url)) for url in (empty_database, third))
    unordered = {"TABLE public.trades": {"id"}}
    report = differences(wanted, found, ("models", "database"), lambda _: str(PAGE), unordered)
    assert not report, report


def insert_of(url: str) -> Any:
    """Insert a trade of a generated bot."""
    return insert(url, "trades", bot_config_id=FIRST_KEY, user_id=FIRST_KEY)


def build_widened_models(url: str) -> None:
    metadata = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["trades"].columns["id"].type = sa.BigInteger()
    metadata.create_all(databases.sync_engine(url))


def without_alembic(found: Catalogue) -> Catalogue:
    kept = {name: text for name, text in found.objects.items() if "alembic_version" not in name}
    return replace(found, objects=kept)
