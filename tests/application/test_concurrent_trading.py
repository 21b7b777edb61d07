"""Under repeats, crashes and concurrent workers, the database agrees with the exchange.

``pytest tests/test_concurrent_trading.py --faults`` injects faults, one at a time, each of which
must be detected; it takes some minutes.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models import BotConfig, BotState, Trade, base, queries
from models.queries import orders, positions, scheduling
from tests.support.trading_model import Harness, Trading

SETTINGS = settings(
    max_examples=8,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture
def machine(
    make_database: Callable[[str], str], migrated_template: str
) -> Iterator[type[Trading]]:
    harness = Harness(make_database(migrated_template))
    yield type("Trading", (Trading,), {"harness": harness})
    harness.close()


def test_the_database_agrees_with_the_exchange(machine: type[Trading]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


# Faults: wrong replacements for functions and constraints. The test above must detect each.

Fault = Callable[[pytest.MonkeyPatch, Harness], None]


def replace(module: Any, name: str, value: Any) -> Fault:
    return lambda monkeypatch, _: monkeypatch.setattr(module, name, value)


def accept_listed_order_types_only(_: pytest.MonkeyPatch, harness: Harness) -> None:
    harness.admin.execute(
        "ALTER TABLE trades ADD CHECK (order_type IN ('LIMIT', 'MARKET')) NOT VALID"
    )


def claim_without_refreshing(limit: int, claim: Callable[[int], Any] = scheduling.claim) -> Any:
    return claim(limit).execution_options(populate_existing=False)


async def grant_every_lease(*_: Any) -> bool:
    return True


async def reserve_unconditionally(session: AsyncSession, bot_config_id: int) -> bool:
    await session.execute(
        update(BotState).where(BotState.id == bot_config_id).values(in_position=True)
    )
    return True


async def find_no_earlier_trade(*_: Any) -> None:
    return None


async def close_in_two_steps(
    session: AsyncSession, values: dict[str, Any], *, closed: bool, since: datetime
) -> queries.Recorded:
    recorded = await queries.record_trade(session, values)
    changes: dict[str, Any] = {"in_position": False, "entry_price": None} if closed else {}
    changes |= {"daily_pnl": BotState.daily_pnl + values["pnl"]}
    changes |= {"daily_trades_count": BotState.daily_trades_count + 1}
    await session.execute(queries.tick(values["bot_config_id"], **changes))
    return recorded


async def reset_all_days(session: AsyncSession, *_: Any) -> None:
    await session.execute(update(BotState).values(daily_pnl=0, daily_trades_count=0))


def list_active_bots_only() -> Any:
    return scheduling.unattended_bots().where(BotConfig.is_active)


def add_unlike_currencies(user_id: int, since: Any) -> Any:
    quote = func.split_part(Trade.symbol, "/", 2)
    return (
        select(func.date(Trade.timestamp), quote, func.sum(Trade.pnl))
        .where(Trade.user_id == user_id, Trade.timestamp >= since, Trade.pnl.is_not(None))
        .group_by(func.date(Trade.timestamp), quote)
    )


FIRST_REPORT_ONLY = (
    insert(orders._TRADES)
    .on_conflict_do_nothing()
    .returning(
        orders._TRADES.c.id,
        orders._TRADES.c.binance_order_id,
        (orders._TRADES.c.id > 0).label("is_new"),
    )
)
FAULTS = {
    "a claim returns stale states": replace(scheduling, "claim", claim_without_refreshing),
    "two workers run a bot": replace(scheduling, "_call", grant_every_lease),
    "two workers enter a position": replace(queries, "reserve_entry", reserve_unconditionally),
    "later reports of an order are ignored": replace(orders, "RECORD", FIRST_REPORT_ONLY),
    "an order has two keys": replace(orders, "plain_key", str),
    "an exit is recorded in two steps": replace(queries, "close_position", close_in_two_steps),
    "a repeated report counts again": replace(positions, "_lock_trade", find_no_earlier_trade),
    "a late entry fills a reservation": replace(
        positions, "_is_before", lambda _: func.coalesce(None, False)
    ),
    "the day is reset instead of recomputed": replace(queries, "refresh_day", reset_all_days),
    "inactive bots are not listed": replace(queries, "unattended_bots", list_active_bots_only),
    "naive datetimes are accepted": replace(
        base.AwareDateTime, "process_bind_param", lambda _self, value, _dialect: value
    ),
    "unlike currencies are added": replace(queries, "daily_pnl", add_unlike_currencies),
    "a new order type is refused": accept_listed_order_types_only,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_injected_faults_are_detected(
    request: pytest.FixtureRequest, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not request.config.getoption("--faults"):
        pytest.skip("takes minutes: --faults")
    machine = request.getfixturevalue("machine")
    FAULTS[fault](monkeypatch, machine.harness)
    many = settings(SETTINGS, max_examples=200)
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        run_state_machine_as_test(machine, settings=many)
    errors = BaseExceptionGroup("detected", [caught.value])
    crash = errors.subgroup((AttributeError, NameError, TypeError))
    assert crash is None, "the fault itself does not run"
