"""A bot's position and day, which follow from its trades; and the reservation of an entry.

**Order of locks**, everywhere: first the states of bots, in the order of their ids, then trades.
Every function that writes trades locks the states of their bots first, so the trades of a bot
change only under its state's lock. A transaction that locks them in another order may deadlock
with another worker.

What reads trades for a state is materialized, so that Citus can run it on the nodes of the trades
(docs/scale.md). Where Citus is installed, it names the user too, by whom they are distributed; not
elsewhere, since PostgreSQL would take the bot and the user for independent, and choose its indexes
worse.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    BindParameter,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Numeric,
    Select,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    case,
    column,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager
from sqlalchemy.orm.util import identity_key
from sqlalchemy.sql.dml import ReturningUpdate

from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus, Side
from models.order_key import joined
from models.trade import Trade
from models.user import User

# The tables rather than the models: an update returns no objects, and is compiled once.
_STATES = BotState.metadata.tables[BotState.__tablename__]
_TRADES = Trade.metadata.tables[Trade.__tablename__]
_CONFIGS = BotConfig.metadata.tables[BotConfig.__tablename__]
_PRICES = ("trailing_stop_price", "max_price_since_entry", "take_profit_price", "stop_loss_price")
"""What the caller sets in a position."""


class PositionError(Exception):
    """The bot's state does not allow the operation. Nothing is changed."""


class LockedBot(NamedTuple):
    """A bot whose state is locked.

    Attributes:
        symbol: As Binance writes it.
        held: Its size.
        is_distributed: Whether the database has Citus.
    """

    bot: int
    user: int
    symbol: str
    held: Decimal
    is_distributed: bool


class Change(NamedTuple):
    """What a report has changed in the coins of a bot.

    Attributes:
        before: What the order had added to the coins, in :func:`coins`; None: it is new.
    """

    trade: int
    before: Decimal | None
    after: Decimal
    dust: Decimal


def coins(trade: Any) -> ColumnElement[Decimal]:
    """Return what an order has added to the coins: bought or sold, less commission in the coin.

    Binance takes the commission from what is received, or in BNB, which may be the coin itself.
    """
    base = func.split_part(trade.symbol, "/", 1)
    is_coin = case(
        (trade.symbol.contains("/"), base == trade.commission_asset),
        else_=func.starts_with(trade.symbol, trade.commission_asset),
    )
    return case(
        (trade.side == Side.BUY, trade.quantity_filled), else_=-trade.quantity_filled
    ) - case((is_coin, trade.commission_amount), else_=0)


def _joined(symbol: ColumnElement[str]) -> ColumnElement[str]:
    """Write a symbol as Binance does, as :func:`models.order_key.joined`."""
    return func.translate(func.upper(symbol), "/_-", "")


async def lock_bots(session: AsyncSession, bots: Collection[tuple[int, int]]) -> list[LockedBot]:
    """Lock the states of bots, given with their users.

    A state that is missing is created, so that a trade is not lost.

    Raises:
        PositionError: There is no such bot of the user.
    """
    await session.flush()
    ids = {"ids": sorted({bot for bot, _ in bots})}
    locked = await _locked(session, ids)
    if len(locked) < len(ids["ids"]):
        await session.execute(_ADD_STATES, ids)
        locked = await _locked(session, ids)
    if unknown := {bot for bot, _ in set(bots) - {(each.bot, each.user) for each in locked}}:
        raise PositionError(f"no such bot of the user: bot {', '.join(map(str, sorted(unknown)))}")
    return locked


async def _locked(session: AsyncSession, ids: Mapping[str, Sequence[int]]) -> list[LockedBot]:
    return [
        LockedBot(bot, user, joined(symbol), held, is_distributed)
        for bot, user, symbol, held, is_distributed in await session.execute(LOCK, ids)
    ]


_IDS: Any = any_(bindparam("ids", type_=ARRAY(Integer)))
LOCK = (
    select(
        _STATES.c.id,
        _CONFIGS.c.user_id,
        _CONFIGS.c.symbol,
        func.coalesce(_STATES.c.current_position_size_coins, 0),
        func.to_regclass("pg_catalog.pg_dist_partition").is_not(None),
    )
    .join(_CONFIGS, _CONFIGS.c.id == _STATES.c.id)
    .where(_STATES.c.id == _IDS)
    .order_by(_STATES.c.id)
    .with_for_update(of=_STATES, key_share=True)
)
"""Locks the states of the bots in ``:ids``."""
_ADD_STATES = (
    insert(_STATES)
    .from_select(["id"], select(_CONFIGS.c.id).where(_CONFIGS.c.id == _IDS))
    .on_conflict_do_nothing()
)


async def derive(
    session: AsyncSession, bot: LockedBot, changes: Sequence[Change], since: datetime | None
) -> None:
    """Derive the position and day of a bot after changes of its trades."""
    parameters = {name: [getattr(c, name) for c in changes] for name in Change._fields}
    statement = DERIVE_DISTRIBUTED if bot.is_distributed else DERIVE
    await session.execute(statement, parameters | bot._asdict() | {"since": since})
    await refresh_states(session, [bot.bot])


async def refresh_states(session: AsyncSession, bots: Iterable[int]) -> None:
    """Refresh the states that the session has loaded."""
    for bot in bots:
        state = session.identity_map.get(identity_key(BotState, bot))
        if state is not None:
            await session.refresh(state)


def derive_statement(
    values: Mapping[str, Any] | None = None, *, is_distributed: bool = False
) -> Update:
    """Update the state of a :class:`LockedBot` from changes, as arrays, and its last trades.

    ``values`` are given here or when the statement is executed.
    """

    def given(name: str, type_: Any) -> BindParameter[Any]:
        return bindparam(name, (values or {}).get(name), type_)

    bot_id, user = given("bot", Integer()), given("user", Integer())

    def is_of_bot(trade: Any) -> ColumnElement[bool]:
        return and_(
            trade.bot_config_id == bot_id, trade.user_id == user if is_distributed else true()
        )

    types = dict.fromkeys(Change._fields, Numeric()) | {"trade": Integer()}
    change = (
        func.unnest(*(given(name, ARRAY(type_)) for name, type_ in types.items()))
        .table_valued(*(column(name, type_) for name, type_ in types.items()), name="change")
        .render_derived()
    )
    added = func.sum(change.c.after - func.coalesce(change.c.before, 0))
    bot = select(
        bot_id.label("id"),
        given("symbol", Text()).label("symbol"),
        (given("held", Numeric()) + added).label("size"),
        func.max(change.c.dust).label("dust"),
        func.array_agg(change.c.trade).filter(change.c.before.is_(None)).label("new_trades"),
    ).cte("bot", nesting=True)
    entry = entry_of(bot, is_of_bot)
    day = day_of(is_of_bot(_TRADES.c), given("since", Trade.timestamp.type))
    new = (
        select(
            bot.c.id,
            bot.c.size,
            (bot.c.size > bot.c.dust).label("is_open"),
            entry.c.price,
            entry.c.is_new,
            *no_trades(day),
        )
        .select_from(bot)
        .join(entry, true())
        .outerjoin(day, true())
        .cte("new")
        .prefix_with("MATERIALIZED")
    )
    was_open = _STATES.c.in_position & _STATES.c.entry_price.is_not(None)
    is_same = new.c.is_open & was_open & ~new.c.is_new
    return (
        update(_STATES)
        .where(_STATES.c.id == new.c.id)
        .values(
            # A reservation ends when the position opens, or by release_entry().
            in_position=new.c.is_open | (_STATES.c.in_position & _STATES.c.entry_price.is_(None)),
            entry_price=case((new.c.is_open, func.coalesce(new.c.price, _STATES.c.entry_price))),
            current_position_size_coins=func.nullif(new.c.size, 0),
            daily_pnl=new.c.pnl,
            daily_trades_count=new.c.trades,
            **{name: case((is_same, _STATES.c[name])) for name in _PRICES}
            | {
                "max_price_since_entry": case(
                    (is_same, _STATES.c.max_price_since_entry), (new.c.is_open, new.c.price)
                )
            },
        )
    )


def entry_of(bot: CTE, is_of_bot: Callable[[Any], ColumnElement[bool]]) -> FromClause:
    """Select the entry price of the bot, and whether all orders that bought are new.

    It goes back from the latest order to the first since the bot was flat, one by one: most
    positions have few, and most bots many before. Orders of the same time count as one.
    """
    no_coins = literal(Decimal(0), Numeric())
    walk = select(
        bot.c.size.label("held"),
        literal_column("timestamptz 'infinity'").label("timestamp"),
        no_coins.label("bought"),
        no_coins.label("paid"),
        null().cast(Boolean).label("is_new"),
    ).cte("walk", recursive=True, nesting=True)
    same = _TRADES.alias("same")

    # Without a condition on the symbol, so that it is the end of a range of the index.
    latest = (
        select(func.max(_TRADES.c.timestamp).label("timestamp"))
        .where(is_of_bot(_TRADES.c), _TRADES.c.timestamp < walk.c.timestamp)
        .lateral("latest")
    )
    counts = _joined(same.c.symbol) == bot.c.symbol
    is_buy = counts & (same.c.side == Side.BUY)
    earlier = (
        select(
            same.c.timestamp,
            func.sum(case((counts, coins(same.c)), else_=0)).label("coins"),
            func.sum(case((is_buy, same.c.quantity_filled), else_=0)).label("bought"),
            func.sum(case((is_buy, same.c.quantity_filled * same.c.price), else_=0)).label("paid"),
            func.bool_and(same.c.id == any_(bot.c.new_trades)).filter(is_buy).label("is_new"),
        )
        .where(is_of_bot(same.c), same.c.timestamp == latest.c.timestamp)
        .group_by(same.c.timestamp)
        .lateral("earlier")
    )
    walk = walk.union_all(
        select(
            walk.c.held - earlier.c.coins,
            *(earlier.c[name] for name in ("timestamp", "bought", "paid", "is_new")),
        )
        .join(bot, walk.c.held > bot.c.dust)
        .join(latest, true())
        .join(earlier, true())
    )
    return select(
        (func.sum(walk.c.paid) / func.nullif(func.sum(walk.c.bought), 0)).label("price"),
        func.coalesce(func.bool_and(walk.c.is_new), False).label("is_new"),
    ).subquery("entry")


def day_of(is_of_bot: ColumnElement[bool], since: ColumnElement[datetime]) -> FromClause:
    """Select the pnl and the number of a bot's trades since a time, by default midnight in UTC.

    There is no row if there are none; see :func:`no_trades`.
    """
    start = func.coalesce(since, func.date_trunc("day", func.now(), "UTC"))
    return (
        select(func.sum(_TRADES.c.pnl).label("pnl"), func.count().label("trades"))
        .where(is_of_bot, _TRADES.c.timestamp >= start)
        # Does nothing, but lets Citus run it beside the trades of many users.
        .group_by(_TRADES.c.bot_config_id, _TRADES.c.user_id)
        .lateral("day")
    )


def no_trades(day: FromClause) -> Sequence[ColumnElement[Any]]:
    """Return the pnl and the number of trades, zero without a row."""
    return [func.coalesce(day.c[name], 0).label(name) for name in ("pnl", "trades")]


DERIVE, DERIVE_DISTRIBUTED = derive_statement(), derive_statement(is_distributed=True)


async def rebuild_positions(
    session: AsyncSession, bots: Mapping[int, Decimal], *, since: datetime | None = None
) -> None:
    """Derive the positions and days of bots from all their trades, as if newly recorded.

    For trades that were written in another way than by :func:`~models.queries.record_trades`: by
    SQL, or by an earlier version. It reads the whole history of the bots.

    Args:
        session: The caller commits its transaction.
        bots: The ids of the bots, each with its dust as in :func:`~models.queries.record_trade`.
        since: Start of the day.
    """
    await session.flush()
    for bot in await _locked(session, {"ids": sorted(bots)}):
        size = await session.scalar(_HELD, bot._asdict())
        await derive(session, bot, [Change(0, bot.held, size or Decimal(0), bots[bot.bot])], since)


_HELD = select(func.sum(coins(_TRADES.c))).where(
    _TRADES.c.bot_config_id == bindparam("bot"),
    _joined(_TRADES.c.symbol) == bindparam("symbol", type_=Text()),
)
"""Selects the coins of a bot from all its trades."""


async def refresh_day(session: AsyncSession, since: datetime, user_id: int | None = None) -> int:
    """Recompute the day of all bots, or of a user's bots, from the trades since a midnight.

    Sets ``daily_pnl`` and ``daily_trades_count``, and returns the number of states that
    differed; the others are not written. Run it at the start of each day, in any time zone, with
    the same ``since`` as :func:`~models.queries.record_trade`. It may also be run at any other
    time, repeatedly, and by several workers.

    Run it in a transaction of its own: it locks the states in the order of their ids, and waits
    for the transactions that change them. It reads only the trades of the day, bot by bot.
    """
    locked = (await session.execute(lock_different_days(since, user_id))).scalars().all()
    if not locked:
        return 0
    # A separate statement, whose snapshot includes the transactions that the first waited for.
    changed = (await session.execute(recompute_days(locked, since))).scalars().all()
    await refresh_states(session, changed)
    return len(changed)


def lock_different_days(since: datetime, user_id: int | None = None) -> Select[int]:
    """Select and lock the states that differ from the trades, in the order of their ids."""
    of_user = true() if user_id is None else _CONFIGS.c.user_id == user_id
    day = _days(since, of_user)
    bots = select(_CONFIGS.c.id).where(of_user)
    # Materialized, so that the locking part does not evaluate the condition again: PostgreSQL
    # would compare a state that it waited for with the earlier sum, and skip it if the two happen
    # to be equal. An equal state needs no lock: who records a trade derives the day anew.
    states = (
        select(_STATES.c.id)
        .outerjoin(day, day.c.id == _STATES.c.id)
        .where(_differs(*no_trades(day)), true() if user_id is None else _STATES.c.id.in_(bots))
        .cte("different")
        .prefix_with("MATERIALIZED")
    )
    return (
        select(_STATES.c.id)
        .join(states, states.c.id == _STATES.c.id)
        .order_by(_STATES.c.id)
        .with_for_update(of=_STATES, key_share=True)
    )


def recompute_days(ids: Sequence[int], since: datetime) -> ReturningUpdate[int]:
    """Set the day of states that are locked, where the trades differ; return their ids."""
    bots = literal(ids, ARRAY(Integer))
    day = _days(since, _CONFIGS.c.id == any_(bots))
    bot = func.unnest(bots).column_valued("bot")
    new = select(bot.label("id"), *no_trades(day)).outerjoin(day, day.c.id == bot).subquery("new")
    return (
        update(_STATES)
        .where(_STATES.c.id == new.c.id, _differs(new.c.pnl, new.c.trades))
        .values(daily_pnl=new.c.pnl, daily_trades_count=new.c.trades)
        .returning(_STATES.c.id)
    )


def _days(since: datetime, which: ColumnElement[bool]) -> CTE:
    """Select the days of those bots that have trades since a time."""
    day = day_of(_TRADES.c.bot_config_id == _CONFIGS.c.id, literal(since, Trade.timestamp.type))
    return (
        select(_CONFIGS.c.id, day.c.pnl, day.c.trades)
        .join(day, true())
        .where(which)
        .cte("day_of_bot")
        .prefix_with("MATERIALIZED")
    )


def _differs(pnl: ColumnElement[Decimal], trades: ColumnElement[int]) -> ColumnElement[bool]:
    return or_(_STATES.c.daily_pnl != pnl, _STATES.c.daily_trades_count != trades)


async def reserve_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """Reserve the entry of a bot; return whether to send the order.

    True if the bot is flat and running, and it and its owner are active. If several workers try,
    one gets True. Commit before sending the order, with a client order id that was never used;
    then record its reports. :func:`release_entry` when the exchange has ended the order, or does
    not know it ``recvWindow`` after it was sent: until then it may still arrive.
    :func:`unresolved_entries` selects the entries of workers that crashed in between.

    Raises:
        PositionError: The bot has no state; :func:`~models.queries.start_bot` makes one.
    """
    may_trade = exists().where(
        _CONFIGS.c.id == bot_config_id,
        _CONFIGS.c.is_active,
        User.id == _CONFIGS.c.user_id,
        User.is_active,
    )
    is_flat = ~_STATES.c.in_position & (_STATES.c.status == BotStatus.RUNNING)
    values = dict.fromkeys(("entry_price", *_PRICES)) | {"in_position": True}
    if await _change(session, bot_config_id, values, is_flat & may_trade):
        return True
    if await session.scalar(select(_STATES.c.id).where(_STATES.c.id == bot_config_id)) is None:
        raise PositionError(f"bot {bot_config_id} has no state")
    return False


async def release_entry(session: AsyncSession, bot_config_id: int) -> bool:
    """End the reservation of an entry; return whether there was one.

    An open position is not changed, and a repeat does nothing: so call it whenever an entry's
    order has ended and its reports are recorded.
    """
    is_reserved = _STATES.c.in_position & _STATES.c.entry_price.is_(None)
    return await _change(session, bot_config_id, {"in_position": False}, is_reserved)


async def _change(
    session: AsyncSession,
    bot_config_id: int,
    values: Mapping[str, Any],
    condition: ColumnElement[bool],
) -> bool:
    changed = await session.execute(
        update(_STATES)
        .where(_STATES.c.id == bot_config_id, condition)
        .values(values)
        .returning(_STATES.c.id)
    )
    ids = changed.scalars().all()
    await refresh_states(session, ids)
    return bool(ids)


def unresolved_entries() -> Select[BotState]:
    """Select the states with a reserved entry, each with its ``config``, by id.

    They are in position without an entry price. Some may belong to a worker that is still
    running, so resolve one while holding its :func:`~models.queries.bot_lease`: query the
    exchange by client order id, record what is filled, then :func:`release_entry`.
    """
    return _with_config().where(BotState.in_position, BotState.entry_price.is_(None))


def positions_of_user(user_id: int) -> Select[BotState]:
    """Select the states of a user's bots that are in position, each with its ``config``, by id."""
    return _with_config().where(BotConfig.user_id == user_id, BotState.in_position)


def _with_config() -> Select[BotState]:
    return (
        select(BotState)
        .join(BotState.config)
        .options(contains_eager(BotState.config))
        .order_by(BotState.id)
        .execution_options(populate_existing=True)
    )
