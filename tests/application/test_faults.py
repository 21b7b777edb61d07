"""Faults that the operations once had, put back one at a time, are found by the tests.

Those in what follows from the trades are found in ``test_derived_state.py``.
"""

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig, BotState, Trade, base, order_key, queries
from models.queries import reports, scheduling, values
from tests.application import test_queries as reading
from tests.application import test_scheduling as running
from tests.application import test_timestamps as timing
from tests.application import test_trades as recording

call = recording.call


async def always(*_: Any) -> bool:
    return True


async def if_flat(session: AsyncSession, bot_config_id: int) -> bool:
    is_flat = update(BotState).where(BotState.id == bot_config_id, ~BotState.in_position)
    changed = await session.execute(is_flat.values(in_position=True).returning(BotState.id))
    return changed.first() is not None


def add_unlike_currencies(user_id: int, since: Any, *_: Any) -> Any:
    day = func.date(Trade.timestamp)
    return select(day, func.max(Trade.symbol), func.sum(Trade.pnl)).group_by(day)


# A name in a module, what replaces its value, and the test that finds it with its arguments.
Fault = tuple[Any, str, Callable[[Any], Any], Callable[..., Any], tuple[Any, ...]]

FAULTS: dict[str, Fault] = {
    "a claim returns stale states": (
        scheduling,
        "claim",
        lambda claim: lambda n: claim(n).execution_options(populate_existing=False),
        running.test_loaded_states_are_refreshed,
        (),
    ),
    "two workers run a bot": (
        scheduling,
        "_call",
        lambda _: always,
        running.test_one_worker_has_the_lease,
        (),
    ),
    "inactive bots are not listed": (
        queries,
        "unattended_bots",
        lambda right: lambda: right().where(BotConfig.is_active),
        running.test_unattended_bots,
        (),
    ),
    "two workers enter a position": (
        queries,
        "reserve_entry",
        lambda _: always,
        recording.test_only_one_worker_reserves_an_entry,
        (),
    ),
    "a bot that is switched off enters a position": (
        queries,
        "reserve_entry",
        lambda _: if_flat,
        recording.test_no_entry_is_reserved,
        ("owner inactive",),
    ),
    "nothing filled is a trade": (
        values,
        "_UNIT",
        lambda _: Decimal(0),
        recording.test_wrong_values_are_refused_before_anything_is_sent,
        ({"quantity_filled": Decimal(0)}, "no trade"),
    ),
    "floats are accepted": (
        values,
        "exact",
        lambda _: lambda name, amount: Decimal(amount),
        recording.test_wrong_values_are_refused_before_anything_is_sent,
        ({"price": 0.3}, "float"),
    ),
    "one order has several keys": (
        order_key,
        "joined",
        lambda _: str,
        recording.test_an_order_has_one_key,
        (("btc/usdt", 28), "BTCUSDT:28"),
    ),
    "an offset is a time zone": (
        reports,
        "ZoneInfo",
        lambda _: str,
        lambda: reading.test_what_is_not_the_name_of_a_time_zone("+03:00"),
        (),
    ),
    "unlike currencies are added": (
        queries,
        "daily_pnl",
        lambda _: add_unlike_currencies,
        reading.test_daily_pnl_keeps_days_and_currencies_apart,
        (),
    ),
    "naive datetimes are accepted": (
        base.AwareDateTime,
        "process_bind_param",
        lambda _: lambda _self, value, _dialect: value,
        timing.test_naive_times_are_refused,
        ("insert", timing.NAIVE),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(
    database: str,
    engine: AsyncEngine,
    session: AsyncSession,
    call: recording.Call,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    module, name, replace, test, arguments = FAULTS[fault]
    fixtures = {"database": database, "engine": engine, "session": session, "call": call}
    given = [fixtures[name] for name in inspect.signature(test).parameters if name in fixtures]
    monkeypatch.setattr(module, name, replace(getattr(module, name)))

    async def run() -> None:
        result = test(*given, *arguments)
        if inspect.isawaitable(result):
            await result

    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        await run()
    assert not isinstance(caught.value, AttributeError | NameError | TypeError), "it does not run"
