"""A bot is run by one worker at a time, when it is due; bots that no worker runs are listed."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError, InvalidRequestError, NoResultFound
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models import BotConfig, BotState, queries
from models.database import make_engine
from tests.support import factories
from tests.support.factories import add_bot
from tests.support.waiting import wait_for
from verification.databases import scalar


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
    (await add_bot(session)).is_active = False
    (await add_bot(session)).owner.is_active = False
    (await add_bot(session, last_run_at=now - timedelta(seconds=61))).check_interval_seconds = 62
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
    assert (state.in_position, state.config, bot.symbol) == (True, bot, "ETH/USDT")
    assert state.last_run_at is not None


async def test_two_workers_do_not_get_the_same_bot(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        ids = {(await add_bot(session)).id for _ in range(3)}
    async with (
        asyncio.timeout(30),  # the second does not wait for the first
        AsyncSession(engine) as one,
        AsyncSession(engine) as other,
    ):
        first = {state.id for state in await queries.claim_due_bots(one, limit=2)}
        second = {state.id for state in await queries.claim_due_bots(other, limit=2)}
    assert (len(first), second) == (2, ids - first)


# The number of leases in this database.
LEASES = (
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)


async def test_one_worker_has_the_lease(engine: AsyncEngine, database: str) -> None:
    async with engine.connect() as one, engine.connect() as other:
        async with (
            queries.bot_lease(one, 1) as leased,
            queries.bot_lease(other, 1) as second,
            queries.bot_lease(other, 2) as another,
        ):
            assert (leased, second, another) == (True, False, True)
            assert (one.in_transaction(), other.in_transaction()) == (False, False)
        assert not one.in_transaction()
        async with queries.bot_lease(other, 1) as leased:
            assert leased
        await one.execute(text("SELECT 1"))
        with pytest.raises(InvalidRequestError, match="not in a transaction"):
            await queries.bot_lease(one, 1).__aenter__()
        assert scalar(database, LEASES) == 0


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT 1 / 0"])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_lease_ends_with_the_block(
    engine: AsyncEngine, database: str, statement: str, fails: bool
) -> None:
    """Whether it left a transaction open, aborted one, or raised an error."""
    async with engine.connect() as connection:
        with suppress(LookupError):
            async with queries.bot_lease(connection, 1) as leased:
                assert leased
                with suppress(DBAPIError):
                    await connection.execute(text(statement))
                if fails:
                    raise LookupError
        assert not connection.in_transaction()
        assert scalar(database, LEASES) == 0


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


async def hold_lease(engine: AsyncEngine, entered: asyncio.Event, *statements: str) -> None:
    """Get a lease, execute the statements, and wait until this is cancelled."""
    async with engine.connect() as connection, queries.bot_lease(connection, 1):
        entered.set()
        for statement in statements:
            await connection.execute(text(statement))
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("statements", "delays"),
    [((), [None]), (("SELECT pg_sleep(60)",), [None]), ((), range(40))],
    ids=["during a pause", "during a statement", "as it gets the lease"],
)
async def test_a_cancelled_worker_keeps_no_lease(
    engine: AsyncEngine,
    database: str,
    statements: tuple[str, ...],
    delays: Iterable[int | None],
) -> None:
    for turns in delays:  # of the event loop; None: until it has the lease
        async with engine.connect():
            pass  # asyncpg leaks a connection that is cancelled while it opens
        entered = asyncio.Event()
        task = asyncio.create_task(hold_lease(engine, entered, *statements))
        if turns is None:
            await entered.wait()
        for _ in range(1 if turns is None else turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # The server has to detect that connections are closed.
    await asyncio.to_thread(wait_for, lambda: scalar(database, LEASES) == 0)


async def test_unattended_bots(session: AsyncSession) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    late, future = now - timedelta(seconds=301), now + timedelta(days=1)
    idle = "not run for several intervals"
    bots: list[tuple[str, BotConfig]] = [
        ("bot switched off", factories.running_bot(in_position=True)),
        ("owner inactive", factories.running_bot()),
        ("status stopped", factories.running_bot(status="stopped")),
        ("status error", factories.running_bot(status="error", in_position=True)),
        ("no state row", factories.bot_config(owner=factories.user(), is_active=True)),
        ("last run in the future", factories.running_bot(last_run_at=future)),
        (idle, factories.running_bot(last_run_at=late)),
        (idle, factories.running_bot(last_updated_at=now - timedelta(days=1))),
    ]
    bots[0][1].is_active = bots[1][1].owner.is_active = False
    session.add_all(bot for _, bot in bots)
    await session.flush()
    expected = [(bot.id, reason, reason != "no state row") for reason, bot in bots]
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


@pytest.mark.usefixtures("abandoned_connections")
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
        assert (leased, not_here) == (True, True)
        while not listed:
            async with AsyncSession(engine) as worker, worker.begin():
                await worker.execute(update(BotState).values(last_run_at=func.now()))
                rows = await worker.execute(queries.unattended_bots(1))
                listed = [(listed_bot.id, reason) for listed_bot, reason in rows]
            await asyncio.sleep(0.1)
    assert listed == [(bot.id, "lease held for several intervals")]
    await elsewhere.dispose()


async def test_starting_and_stopping(session: AsyncSession) -> None:
    bot = factories.bot_config(owner=factories.user())
    session.add(bot)
    await session.flush()

    steps: list[tuple[Any, ...]] = [
        (queries.start_bot, [], (True, "running", None)),
        (queries.stop_bot, ["no\0 money"], (True, "error", "no\ufffd money")),
        (queries.start_bot, [], (True, "running", None)),
        (queries.stop_bot, [], (False, "stopped", None)),
    ]
    for function, arguments, expected in steps:
        await function(session, bot.id, *arguments)
        state = await session.get_one(BotState, bot.id)
        await session.refresh(bot)
        assert (bot.is_active, state.status, state.last_error_message) == expected


@pytest.mark.parametrize("function", [queries.start_bot, queries.stop_bot, queries.forget_user])
async def test_an_unknown_bot_or_user(session: AsyncSession, function: Any) -> None:
    with pytest.raises(NoResultFound):
        await function(session, 99)


async def test_ticks(session: AsyncSession, statements: list[str]) -> None:
    bots = [await add_bot(session, stop_loss_price=1) for _ in range(4)]
    prices: dict[int, queries.Prices] = {
        bot.id: {"max_price_since_entry": Decimal(bot.id)} for bot in bots[:3]
    }
    session.expunge_all()
    statements.clear()
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
