"""What docs/scale.md says about running out of ids, and the revisions that it shows."""

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
from tests.support.factories import SMALLEST

PAGE = databases.ROOT / "docs" / "scale.md"
INT_MAX = 2**31 - 1


def insert(url: str, table: str = "trades") -> Any:
    """Insert a row, and return its id."""
    row = SMALLEST[table]
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    statement = f"INSERT INTO {table} ({names}) VALUES ({values}) RETURNING id"
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
            ids.append(insert(url))
        assert connection.scalars(indexes).all() == before
    with psycopg.connect(url) as second:
        second.execute("SELECT setval('trades_id_seq', %s)", [INT_MAX])
    ids.append(insert(url))
    assert len(set(ids)) == 6
    assert ids[-1] == INT_MAX + 1
    with psycopg.connect(url) as last:
        assert [row for (row,) in last.execute("SELECT id FROM trades ORDER BY id")] == ids
