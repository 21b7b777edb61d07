"""A bot is run by one worker at a time, when it is due; bots that no worker runs are listed."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError, NoResultFound
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from models import BotConfig, BotState, queries
from models.database import make_engine
from tests.support import factories
from tests.support.factories import add_bot


async def test_bots_that_waited_longest_come_first(session: AsyncSession) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    late = await add_bot(session, last_run_at=now - timedelta(seconds=60))
    later = await add_bot(session, last_run_at=now - timedelta(seconds=61))
    never = await add_bot(session)
    # After the clock was put back.
    future = await add_bot(session, last_run_at=now + timedelta(days=1))
    await add_bot(session, last_run_at=now - timedelta(seconds=59))
    await add_bot(session, status="stopped")
    await add_bot(session, status="error")
    switched_off = await add_bot(session)
    switched_off.is_active = False
    of_inactive_owner = await add_bot(session)
    of_inactive_owner.owner.is_active = False
    slow = await add_bot(session, last_run_at=now - timedelta(seconds=61))
    slow.check_interval_seconds = 62
    await session.flush()
    session.expunge_all()
    (first,) = await queries.claim_due_bots(session, limit=1)
    assert (first.id, first.last_run_at, first.config.id) == (never.id, now, never.id)
    assert [state.id for state in await queries.claim_due_bots(session)] == [
        later.id,
        late.id,
        future.id,
    ]
    assert await queries.claim_due_bots(session) == []


async def test_loaded_states_are_refreshed(engine: AsyncEngine, session: AsyncSession) -> None:
    bot = await add_bot(session)
    await session.commit()
    state: Any
    (state,) = await queries.claim_due_bots(session)
    await session.commit()
    assert not state.in_position
    async with AsyncSession(engine) as other, other.begin():
        await other.execute(update(BotState).values(in_position=True, last_run_at=None))
        await other.execute(update(BotConfig).values(symbol="ETH/USDT"))
    assert await queries.claim_due_bots(session) == [state]
    assert state.in_position
    assert state.last_run_at is not None
    assert state.config is bot
    assert bot.symbol == "ETH/USDT"


async def test_two_workers_do_not_get_the_same_bot(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        bots = [await add_bot(session) for _ in range(3)]
        ids = {bot.id for bot in bots}
    async with (
        asyncio.timeout(30),  # the second does not wait for the first
        AsyncSession(engine) as one,
        AsyncSession(engine) as other,
    ):
        first = {state.id for state in await queries.claim_due_bots(one, limit=2)}
        second = {state.id for state in await queries.claim_due_bots(other, limit=2)}
    assert len(first) == 2
    assert second == ids - first


async def test_many_workers_share_the_bots(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        for _ in range(20):
            await add_bot(session)

    async def work() -> list[int]:
        claimed = []
        for _ in range(5):
            async with AsyncSession(engine) as session, session.begin():
                claimed += [state.id for state in await queries.claim_due_bots(session, limit=3)]
        return claimed

    claimed = [*itertools.chain(*await asyncio.gather(*(work() for _ in range(6))))]
    assert sorted(claimed) == sorted(set(claimed))
    assert len(claimed) == 20


async def lease_count(engine: AsyncEngine) -> int:
    """Return the number of leases in this database."""
    locks = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    async with engine.connect() as connection:
        return int((await connection.execute(locks)).scalar_one())


async def wait_until_no_lease_is_held(engine: AsyncEngine) -> None:
    """Wait until the server has detected that connections are closed."""
    async with asyncio.timeout(30):
        while await lease_count(engine):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)


async def test_one_worker_has_the_lease(engine: AsyncEngine) -> None:
    async with engine.connect() as one, engine.connect() as other:
        async with queries.bot_lease(one, 1) as leased, queries.bot_lease(other, 1) as second:
            assert (leased, second) == (True, False)
            assert not one.in_transaction()
            assert not other.in_transaction()
            async with queries.bot_lease(other, 2) as another:
                assert another
        assert not one.in_transaction()
        async with queries.bot_lease(other, 1) as leased:
            assert leased
    assert await lease_count(engine) == 0


async def test_a_lease_is_for_a_connection_without_a_transaction(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(InvalidRequestError, match="not in a transaction"):
            await queries.bot_lease(connection, 1).__aenter__()
        assert await lease_count(engine) == 0


async def leave_open(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))


async def abort(connection: AsyncConnection) -> None:
    with pytest.raises(DBAPIError):
        await connection.execute(text("SELECT 1 / 0"))


async def fail(_: AsyncConnection) -> None:
    raise LookupError


@pytest.mark.parametrize("action", [leave_open, abort, fail])
async def test_a_lease_ends_with_the_block(
    engine: AsyncEngine, action: Callable[[AsyncConnection], Awaitable[None]]
) -> None:
    async with engine.connect() as connection:
        try:
            async with queries.bot_lease(connection, 1) as leased:
                assert leased
                await action(connection)
        except LookupError:
            pass
        assert not connection.in_transaction()
        assert await lease_count(engine) == 0


async def test_a_lease_ends_with_the_connection(engine: AsyncEngine) -> None:
    async with engine.connect() as one, engine.connect() as other:
        async with queries.bot_lease(one, 1) as leased:
            assert leased
            driver: Any = (await one.get_raw_connection()).driver_connection
            await other.execute(
                text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": driver.get_server_pid()}
            )
            await other.commit()
            async with queries.bot_lease(other, 1) as leased_now:
                assert leased_now
        assert one.invalidated


@pytest.mark.parametrize("during", ["a statement", "a pause"])
async def test_a_cancelled_worker_keeps_no_lease(engine: AsyncEngine, during: str) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with engine.connect() as connection, queries.bot_lease(connection, 1):
            entered.set()
            if during == "a pause":
                await asyncio.Event().wait()
            await connection.execute(text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(work())
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_no_lease_is_held(engine)


async def test_a_worker_that_is_cancelled_as_it_gets_the_lease(engine: AsyncEngine) -> None:
    async def work() -> None:
        async with engine.connect() as connection, queries.bot_lease(connection, 1):
            await asyncio.Event().wait()

    for turns in range(40):  # at every await
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await wait_until_no_lease_is_held(engine)


UNATTENDED: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "bot switched off": ({"is_active": False}, {"in_position": True}, True),
    "owner inactive": ({}, {}, False),
    "status stopped": ({}, {"status": "stopped"}, True),
    "status error": ({}, {"status": "error", "in_position": True}, True),
    "no state row": ({}, {}, True),
    "last run in the future": ({}, {}, True),
    "not run for several intervals": ({}, {}, True),
}


async def test_unattended_bots(session: AsyncSession) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    expected = []
    for reason, (config, state, is_active) in UNATTENDED.items():
        if reason == "not run for several intervals":
            state |= {"last_run_at": now - timedelta(seconds=301)}
        if reason == "last run in the future":
            state |= {"last_run_at": now + timedelta(days=1)}
        bot = factories.running_bot(**state)
        for name, value in config.items():
            setattr(bot, name, value)
        bot.owner.is_active = is_active
        if reason == "no state row":
            bot.state = None
        session.add(bot)
        await session.flush()
        expected.append((bot.id, reason, bot.state is not None))
    # Not listed: a running bot, with and without a position, and an unused one.
    await add_bot(session, in_position=True, last_run_at=now - timedelta(seconds=299))
    await add_bot(session)
    (await add_bot(session, status="error")).is_active = False
    # An interval that is longer than a number of seconds in an integer, several times.
    (await add_bot(session, last_run_at=now)).check_interval_seconds = 2**31 - 1
    await session.flush()
    session.expunge_all()
    unattended = await session.execute(queries.unattended_bots())
    assert [(bot.id, reason, bot.state is not None) for bot, reason in unattended] == expected


async def test_a_bot_that_never_ran_is_unattended_after_some_time(session: AsyncSession) -> None:
    bot = await add_bot(session)
    assert (await session.execute(queries.unattended_bots())).all() == []
    await session.execute(text("UPDATE bot_states SET last_updated_at = now() - interval '1 day'"))
    assert [bot_ for bot_, _ in await session.execute(queries.unattended_bots())] == [bot]


async def test_a_hung_worker_is_listed(
    engine: AsyncEngine, make_database: Callable[..., str]
) -> None:
    """It has the lease, and others claim the bot in vain; so the last run seems recent."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        bot, other = [await add_bot(session) for _ in range(2)]
        bot.check_interval_seconds = other.check_interval_seconds = 1
    elsewhere = make_engine(make_database())
    listed: list[Any] = []
    async with (
        elsewhere.connect() as other_database,
        engine.connect() as connection,
        queries.bot_lease(other_database, other.id) as not_here,
        queries.bot_lease(connection, bot.id) as leased,
        asyncio.timeout(60),
    ):
        assert leased
        assert not_here
        while not listed:
            async with AsyncSession(engine) as worker, worker.begin():
                await worker.execute(update(BotState).values(last_run_at=func.now()))
                rows = await worker.execute(queries.unattended_bots(1))
                listed = [(listed_bot.id, reason) for listed_bot, reason in rows]
            await asyncio.sleep(0.1)
    assert listed == [(bot.id, "lease held for several intervals")]
    await elsewhere.dispose()


async def test_starting_and_stopping(engine: AsyncEngine, session: AsyncSession) -> None:
    bot = factories.bot_config(owner=factories.user())
    session.add(bot)
    await session.flush()

    async def switched() -> tuple[Any, ...]:
        state = await session.get_one(BotState, bot.id)
        await session.refresh(bot)
        return bot.is_active, state.status, state.last_error_message

    await queries.start_bot(session, bot.id)
    assert await switched() == (True, "running", None)
    await queries.stop_bot(session, bot.id, "no\0 money")
    assert await switched() == (True, "error", "no\ufffd money")
    await queries.start_bot(session, bot.id)
    assert await switched() == (True, "running", None)
    await queries.stop_bot(session, bot.id)
    assert await switched() == (False, "stopped", None)
    for function in (queries.start_bot, queries.stop_bot):
        with pytest.raises(NoResultFound):
            await function(session, 99)


async def test_ticks(session: AsyncSession) -> None:
    bots = [await add_bot(session, stop_loss_price=1) for _ in range(4)]
    statements: list[str] = []
    connection = await session.connection()
    event.listen(
        connection.sync_connection,
        "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    )
    prices: dict[int, queries.Prices] = {
        bot.id: {"max_price_since_entry": Decimal(bot.id)} for bot in bots[:3]
    }
    session.expunge_all()
    await queries.ticks(session, prices)
    assert len(statements) == 1
    await queries.ticks(session, {bots[3].id: {"stop_loss_price": None}})
    await queries.tick(session, bots[0].id, take_profit_price=Decimal(7))
    now = await session.scalar(select(func.now()))
    states = (await session.scalars(select(BotState).order_by(BotState.id))).all()
    assert [state.max_price_since_entry for state in states] == [*map(Decimal, prices), None]
    assert [state.stop_loss_price for state in states] == [1, 1, 1, None]
    assert states[0].take_profit_price == 7
    assert {state.last_run_at for state in states} == {now}


@pytest.mark.parametrize("prices", [{"daily_pnl": Decimal(1)}, {"stop_loss_price": 0.1}], ids=str)
async def test_a_tick_of_something_else(session: AsyncSession, prices: Any) -> None:
    with pytest.raises(ValueError, match=r"not a price|float"):
        await queries.tick(session, 1, **prices)
