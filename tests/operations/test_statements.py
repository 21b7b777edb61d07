"""Statements that never block queries are recognised, and only those."""

import pytest

from trading_bot_schema.migrator.statements import is_concurrent


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON trades (symbol)",
        "create unique index concurrently i on trades (symbol);",
        "-- squawk-ignore prefer-robust-stmts\n  CREATE INDEX CONCURRENTLY i ON trades (symbol)",
        "/* LOCK users; */ CREATE INDEX /* ; */ CONCURRENTLY i ON trades (symbol)",
        """CREATE INDEX CONCURRENTLY "a;b" ON trades (symbol) WHERE symbol <> 'it''s;'""",
        "DROP INDEX CONCURRENTLY IF EXISTS i, j",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY trades",
        "REINDEX (CONCURRENTLY, VERBOSE) TABLE trades",
        "ALTER TABLE trades VALIDATE CONSTRAINT c",
        'alter table if exists only public."my trades" validate constraint c',
        "ALTER TABLE trades VALIDATE CONSTRAINT c, VALIDATE CONSTRAINT d ; ",
        "VACUUM",
        "VACUUM (ANALYZE, VERBOSE) trades",
        'VACUUM "full"',
        "ANALYZE trades (symbol, side)",
    ],
)
def test_concurrent(statement: str) -> None:
    assert is_concurrent(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "-- CREATE INDEX CONCURRENTLY i ON trades (symbol)",
        "CREATE INDEX i ON trades (symbol)",
        'CREATE INDEX "concurrently" ON trades (symbol)',
        "DROP INDEX i",
        "REINDEX INDEX i",
        "REINDEX (CONCURRENTLY false) TABLE trades",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "ALTER TABLE trades ADD CONSTRAINT c CHECK (price > 0)",
        "ALTER TABLE trades VALIDATE CONSTRAINT c, ADD COLUMN note text",
        "ALTER TABLE trades ADD COLUMN note text, VALIDATE CONSTRAINT c",
        "ALTER TABLE trades VALIDATE CONSTRAINT c; ALTER TABLE trades ADD COLUMN note text",
        "VACUUM FULL trades",
        "VACUUM (FULL) trades",
        "VACUUM (ANALYZE, FULL) trades",
        "ANALYZE; LOCK TABLE trades",
        "SELECT 'VACUUM'",
        # A nested comment: the safe answer.
        "/* /* */ VACUUM */ LOCK TABLE trades",
    ],
)
def test_not_concurrent(statement: str) -> None:
    assert not is_concurrent(statement)
