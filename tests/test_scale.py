"""Ids run out as docs/scale.md says, and the revisions that it shows widen them."""

import re
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from tests.support import databases
from tests.support.databases import ask
from tests.support.factories import SMALLEST
from tests.support.inserting import insert

PAGE = databases.ROOT / "docs" / "scale.md"
INT_MAX = 2**31 - 1


def add(url: str, table: str = "trades") -> Any:
    """Insert a row, and return its id."""
    with psycopg.connect(url) as connection:
        return insert(connection, table, SMALLEST[table])["id"]


@pytest.fixture
def database_with_trades(database: str) -> str:
    for table in ("users", "bot_configs", "trades", "trades"):
        add(database, table)
    return database


def test_the_last_id(database_with_trades: str) -> None:
    ask(database_with_trades, "SELECT setval('trades_id_seq', %s)", INT_MAX - 1)
    assert add(database_with_trades) == INT_MAX
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
        add(database_with_trades)


def test_widening_the_ids(database_with_trades: str) -> None:
    url = database_with_trades
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    ids = [1, 2]
    with databases.sync_engine(url).connect() as connection:
        indexes = text("SELECT indexdef FROM pg_indexes WHERE tablename = 'trades' ORDER BY 1")
        before = connection.scalars(indexes).all()
        connection.rollback()
        for block in blocks:
            names: dict[str, Any] = {"op": op, "sa": sa}
            exec(block, names)  # noqa: S102 - our own page
            context = MigrationContext.configure(connection)
            with Operations.context(context), context.begin_transaction():
                names["upgrade"]()
            # The application goes on.
            ids.append(add(url))
        assert connection.scalars(indexes).all() == before
    ask(url, "SELECT setval('trades_id_seq', %s)", INT_MAX)
    ids.append(add(url))
    assert len(set(ids)) == 6
    assert ids[-1] == INT_MAX + 1
    assert ask(url, "SELECT array_agg(id ORDER BY id) FROM trades") == ids
