"""Users, their keys and bots, and the erasure of a user."""

from uuid import uuid4

from sqlalchemy import ColumnElement, Select, delete, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager

from models.api_key import ApiKey
from models.bot_config import BotConfig
from models.bot_state import BotState
from models.enums import BotStatus
from models.queries.positions import PositionError
from models.user import User


def user_by_email(email: str) -> Select[User]:
    """Select the user with an email address, by exact match."""
    return select(User).where(User.email == email)


def keys_of_user(user_id: int) -> Select[ApiKey]:
    """Select a user's API keys, in the order they were added."""
    return select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id)


def usable_key(user_id: int) -> Select[ApiKey]:
    """Select the newest of a user's API keys that Binance accepted, if any."""
    return (
        select(ApiKey)
        .where(ApiKey.user_id == user_id, ApiKey.is_valid)
        .order_by(ApiKey.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )


def bots_of_user(user_id: int) -> Select[BotConfig]:
    """Select a user's bots, each with its ``state``, in the order they were created."""
    return (
        select(BotConfig)
        .outerjoin(BotConfig.state)
        .where(BotConfig.user_id == user_id)
        .options(contains_eager(BotConfig.state))
        .order_by(BotConfig.id)
        .execution_options(populate_existing=True)
    )


async def delete_bot(session: AsyncSession, bot_config_id: int) -> None:
    """Delete a bot without trades, and its state. Do not delete it otherwise: hold its lease.

    Raises:
        PositionError: It is in position, perhaps with a reserved entry, whose order would be
            filled for no bot. Nothing is changed.
        IntegrityError: It has trades. Stop it instead.
    """
    await _lock_flat(session, BotConfig.id == bot_config_id)
    await session.execute(delete(BotConfig).where(BotConfig.id == bot_config_id))


async def forget_user(session: AsyncSession, user_id: int) -> None:
    """Erase the personal data of a user, a right under GDPR and KVKK; keep the trades.

    API keys are deleted; email, password hash, names of bots and error messages are overwritten;
    the user and the bots are deactivated. May be repeated. The remaining financial records refer
    to the user by id only. Backups and the server's log are not affected.

    Raises:
        PositionError: A bot of the user is in position. Nothing is changed: sell first.
        NoResultFound: There is no such user.
    """
    bots = await _lock_flat(session, BotConfig.user_id == user_id)
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
    fresh = {"populate_existing": True}
    await session.scalars(
        update(BotState)
        .where(BotState.id.in_(bots))
        .values(status=BotStatus.STOPPED, last_error_message=None)
        .returning(BotState),
        execution_options=fresh,
    )
    await session.scalars(
        update(BotConfig)
        .where(BotConfig.user_id == user_id)
        .values(name="erased", is_active=False)
        .returning(BotConfig),
        execution_options=fresh,
    )
    # Last, since it waits for transactions that have recorded a trade of the user.
    erased = await session.scalars(
        update(User)
        .where(User.id == user_id)
        .values(
            # Unique, and in a reserved domain (RFC 2606). No password has this hash.
            email=f"erased-{uuid4()}@example.invalid",
            hashed_password=literal("erased"),
            is_active=False,
        )
        .returning(User),
        execution_options=fresh,
    )
    erased.one()


async def _lock_flat(session: AsyncSession, which: ColumnElement[bool]) -> Select[int]:
    """Lock the states of bots, which must be flat, and select the ids of the bots."""
    bots = select(BotConfig.id).where(which)
    states = await session.execute(
        select(BotState.id, BotState.in_position)
        .where(BotState.id.in_(bots))
        .order_by(BotState.id)
        .with_for_update(key_share=True)
    )
    if holding := [str(bot) for bot, in_position in states if in_position]:
        raise PositionError(f"in position, so sell first: bot {', '.join(holding)}")
    return bots
