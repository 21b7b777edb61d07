"""Ids end as docs/scale.md says."""

import psycopg
import pytest

from tests import specification
from tests.support.factories import MINIMAL_ROWS
from verification.databases import insert, scalar

LAST = {"integer": 2**31 - 1, "bigint": 2**63 - 1}


def test_the_last_id(database: str) -> None:
    types = {name: type_ for name, type_, *_ in specification.columns()}
    last = LAST[types["trades.id"]]
    with psycopg.connect(database) as connection:
        for table in ("users", "bot_configs"):
            insert(connection, table, MINIMAL_ROWS[table])
        scalar(database, "SELECT setval('trades_id_seq', %s)", last - 1)
        connection.commit()
        assert insert(connection, "trades", MINIMAL_ROWS["trades"])["id"] == last
        with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded, match="trades_id_seq"):
            insert(connection, "trades", MINIMAL_ROWS["trades"])
