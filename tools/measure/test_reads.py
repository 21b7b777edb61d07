"""Plan, pages and latency of each hot query, and the sizes of the indexes."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.support.data import Dataset
from tests.support.hot_queries import hot_queries
from tools.measure.conftest import Stage
from verification import databases
from verification.plans import explain

NAMES = sorted(hot_queries(Dataset(users=50, bots=50, running=20, period=500), 500))
SIZES = text(
    "SELECT relname, pg_table_size(oid) FROM pg_class"
    " WHERE oid IN ('trades'::regclass, 'bot_states'::regclass, 'bot_configs'::regclass)"
    " UNION ALL SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
    " WHERE indrelid IN ('trades'::regclass, 'bot_states'::regclass, 'bot_configs'::regclass)"
)


@pytest.mark.parametrize("name", NAMES)
def test_query(benchmark: Any, dataset: Dataset, stage: Stage, name: str) -> None:
    statement = hot_queries(dataset, stage.trades)[name]
    with databases.sync_engine(stage.url).connect() as connection:

        def run() -> None:
            result = connection.execute(statement)
            if result.returns_rows:
                result.all()
            connection.rollback()

        explain(connection, statement)  # to read the catalogue and the pages into memory
        plan = explain(connection, statement)
        connection.rollback()
        benchmark.extra_info |= {
            "pages": plan.buffers,
            "rows": plan.rows,
            "steps": plan.steps,
            "explain_ms": plan.milliseconds,
        }
        benchmark.pedantic(run, rounds=max(3, min(30, int(2000 / plan.milliseconds))))


def test_sizes(benchmark: Any, stage: Stage) -> None:
    with databases.sync_engine(stage.url).connect() as connection:
        sizes = benchmark.pedantic(lambda: connection.execute(SIZES).all(), rounds=1)
    benchmark.extra_info |= {
        "sizes": dict(map(tuple, sizes)),
        "upgrade_seconds": stage.upgrade_seconds,
    }
