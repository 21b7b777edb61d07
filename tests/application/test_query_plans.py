"""Each hot query uses its index and reads few pages."""

import random

import pytest
from sqlalchemy import Engine, text

from models.queries.scheduling import tick_statement
from tests import specification
from tests.support.waiting import wait_for
from tests.trading_bot import PROJECT
from tests.workload import BotWorkload
from verification import Databases, databases
from verification.query_plans import explain, vacuum

# Fifty trades are on up to fifty pages; the other limits are 1.5 times the measured number.
PLANS = """
query                                | index                                | pages of 8 kB
1 claim due bots                     | ix_bot_states_running                | 2000
2 last trades of a bot, busy         | ix_trades_bot_config_id_timestamp_id | 60
2 last trades of a bot, ordinary     | ix_trades_bot_config_id_timestamp_id | 60
2 next page of a bot, busy           | ix_trades_bot_config_id_timestamp_id | 60
2 next page of a bot, ordinary       | ix_trades_bot_config_id_timestamp_id | 60
3 last trades of a user, busy        | ix_trades_user_id_timestamp_id       | 60
3 last trades of a user, ordinary    | ix_trades_user_id_timestamp_id       | 60
3 next page of a user, busy          | ix_trades_user_id_timestamp_id       | 60
3 next page of a user, ordinary      | ix_trades_user_id_timestamp_id       | 60
4 day of a bot, busy                 | ix_trades_bot_config_id_timestamp_id | 15
4 day of a bot, ordinary             | ix_trades_bot_config_id_timestamp_id | 15
5 daily pnl, 90 days, busy           | ix_trades_user_id_timestamp_id       | 80
5 daily pnl, 90 days, ordinary       | ix_trades_user_id_timestamp_id       | 25
5 fees by asset, 30 days, busy       | ix_trades_user_id_timestamp_id       | 400
5 fees by asset, 30 days, ordinary   | ix_trades_user_id_timestamp_id       | 400
6 record a new order                 | uq_trades_binance_order_id           | 120
6 record an order again              | uq_trades_binance_order_id           | 90
6 look up the order                  | uq_trades_binance_order_id           | 10
6 lock the state of a bot            | pk_bot_states                        | 15
6 derive the state of a bot          | ix_trades_bot_config_id_timestamp_id | 60
7 positions of a user, busy          | ix_bot_configs_user_id               | 80
7 positions of a user, ordinary      | ix_bot_configs_user_id               | 60
7 bots of a user, busy               | ix_bot_configs_user_id               | 80
7 bots of a user, ordinary           | ix_bot_configs_user_id               | 60
8 tick                               | pk_bot_states                        | 60
9 pnl by symbol, 90 days, busy       | ix_trades_user_id_timestamp_id       | 80
9 pnl by symbol, 90 days, ordinary   | ix_trades_user_id_timestamp_id       | 25
10 keys of a user                    | ix_api_keys_user_id                  | 15
10 usable key                        | ix_api_keys_user_id                  | 10
10 user by email                     | ix_users_email                       | 10
11 find days that differ             | ix_trades_bot_config_id_timestamp_id | 6600
11 find days of a user that differ   | ix_trades_bot_config_id_timestamp_id | 190
11 recompute days                    | ix_trades_bot_config_id_timestamp_id | 1100
12 unattended bots                   |                                      | 110
12 unresolved entries                |                                      | 65
"""
# Not while the server creates a replication slot, which may need older rows.
ALL_VISIBLE = "SELECT relallvisible = relpages FROM pg_class WHERE oid = 'trades'::regclass"

# Four hundred users, a hundred running bots, a hundred days of trades.
WORKLOAD = BotWorkload(
    30_000,
    {"users": 400, "bots": 2_000, "running": 100, "period": 30_000, "trades_per_day": 300},
)


@pytest.fixture(scope="module")
def filled(database_at: Databases) -> Engine:
    """A database that was filled at the first revision, then migrated."""
    url = database_at.at(PROJECT.history[0].revision)
    WORKLOAD.fill(url)
    PROJECT.migrate(url)

    def is_visible() -> bool:
        vacuum(url)
        return bool(databases.scalar(url, ALL_VISIBLE))

    wait_for(is_visible)
    return databases.sync_engine(url)


def test_plans(filled: Engine, subtests: pytest.Subtests) -> None:
    expected = {name: limits for name, *limits in specification.rows(PLANS, "|")[1:]}
    statements = WORKLOAD.statements()
    assert sorted(statements) == sorted(expected)
    with filled.connect() as connection:
        for name, (index, pages) in expected.items():
            with subtests.test(name):
                plan = explain(connection, statements[name])
                assert not index or index in plan.indexes, plan
                assert plan.buffers <= int(pages), plan
                # Bots and their states may be scanned, to find those that need something;
                # trades may not.
                assert plan.scanned <= {"bot_states", "bot_configs", "users"}, plan


def test_ticks_stay_on_their_page(filled: Engine) -> None:
    """The updates are heap-only: no index is written."""
    running = WORKLOAD.dataset.running
    count = text(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'bot_states'"
    )
    flush = text("SELECT pg_stat_force_next_flush()")
    tick = tick_statement(frozenset({"max_price_since_entry"}))
    with filled.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(flush)
        connection.execute(text("SELECT pg_stat_reset()"))
        for turn in range(3):
            for bot in random.sample(running, len(running)):
                connection.execute(tick, {"bot": bot, "max_price_since_entry": 60_000 + turn})
        connection.execute(flush)
        updates, heap_only = connection.execute(count).one()
    assert updates == 3 * len(running)
    assert heap_only >= 0.95 * updates
