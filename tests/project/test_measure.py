"""A rehearsal measures what the application waits for, on a copy only."""

import re

import pytest
from sqlalchemy import make_url

from tests.support import commandline
from tests.trading_bot import HEAD, HISTORY
from verification import Databases, databases

ROWS = (
    "INSERT INTO users (email, hashed_password) VALUES ('a', 'b')",
    "INSERT INTO bot_configs (user_id, name, symbol, timeframe, stop_loss_perc, take_profit_perc,"
    " ema_fast, ema_slow, rsi_period, rsi_oversold, rsi_overbought)"
    " VALUES (1, 'Bot', 'BTC/USDT', '1m', 2, 5, 9, 21, 14, 30, 70)",
    "INSERT INTO trades (bot_config_id, user_id, symbol, side, order_type, price,"
    " quantity_filled, quote_quantity_filled, timestamp)"
    " VALUES (1, 1, 'BTC/USDT', 'BUY', 'MARKET', 1, 1, 1, now())",
)
# Holds a lock until statements of the application have waited for it, for a limited time.
HOLD = """
DO $$ BEGIN
    LOCK TABLE trades IN {} MODE;
    FOR attempt IN 1..3000 LOOP
        EXIT WHEN {} = (
            SELECT count(DISTINCT application_name) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND relation = 'trades'::regclass AND application_name LIKE '%trades'
                AND waitstart < clock_timestamp() - interval '700 ms');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
"""
STATEMENTS = {
    "reads and writes wait": HOLD.format("ACCESS EXCLUSIVE", 2),
    "writes wait": HOLD.format("SHARE", 1),
    "the application fails": "ALTER TABLE trades RENAME TO renamed",
    "fails": "SELECT 1 / 0",
    "not run": "SELECT 1",
}


def arguments(scratch: str) -> tuple[str, ...]:
    return ("tools.measure", "rehearse", "--scratch", scratch, "--settle", "0.5")


def test_a_rehearsal(database_at: Databases) -> None:
    url = database_at.at(HISTORY[0].revision)
    databases.execute(url, *ROWS)
    sql = [argument for statement in STATEMENTS.values() for argument in ("--sql", statement)]
    heading, _, *rows = [
        re.split(r" *\| +", line)
        for line in commandline.run(*arguments(url), *sql).succeeded().stdout.splitlines()
    ]
    names = [*(revision.revision for revision in HISTORY[1:]), *STATEMENTS]
    steps = {
        name: dict(zip(heading, row, strict=True)) for name, row in zip(names, rows, strict=False)
    }

    assert databases.version(url) == HEAD
    assert "trades" in heading
    assert "alembic_version" not in heading
    # Its statements are those of old code.
    breaks = any("\nOld code: breaks" in revision.longdoc for revision in HISTORY[1:])
    for revision in HISTORY[1:]:
        step = steps[revision.revision]
        assert f"`{revision.revision}` " in step["step"]
        assert step["failed"] == "0" or breaks
    for statement, waits in {
        "reads and writes wait": [True, True],
        "writes wait": [False, True],
    }.items():
        step = steps[statement]
        assert [int(wait) >= 100 for wait in step["trades"].split(" / ")] == waits, step
        assert step["users"] == "0 / 0"
        assert step["failed"] == "0" or breaks
    assert int(steps["the application fails"]["failed"]) > 1
    assert "division by zero" in steps["fails"]["step"]
    assert "not run" not in steps, "a statement that fails is the last"


def test_the_applications_database_is_refused(database_at: Databases) -> None:
    scratch = database_at.at(HISTORY[0].revision)
    # Another form of the same URL.
    other = make_url(scratch).update_query_dict({"application_name": "application"})
    commandline.run(
        *arguments(scratch), DATABASE_URL=other.render_as_string(hide_password=False)
    ).ended(1, "ERROR --scratch names the database of DATABASE_URL, which")
    assert databases.version(scratch) == HISTORY[0].revision


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), " has nothing to run."),
        (("--write",), "--write needs generated data"),
    ],
)
def test_an_error_is_one_line(database: str, options: tuple[str, ...], message: str) -> None:
    result = commandline.run(*arguments(database), *options)
    assert result.status > 0
    assert message in result.stderr.splitlines()[-1]
