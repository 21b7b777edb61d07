"""People who own bots."""

from typing import TYPE_CHECKING

from sqlalchemy import String, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedUpdated, IntPK
from models.checks import not_empty

if TYPE_CHECKING:
    from models.api_key import ApiKey
    from models.bot_config import BotConfig


class User(CreatedUpdated, Base):
    """A person who logs in and owns API keys and bots.

    Deleting a user deletes the API keys and bots as well. A user with trades cannot be deleted,
    since trades are financial records: :class:`sqlalchemy.exc.IntegrityError` is raised and
    nothing is deleted. Set ``is_active`` to false instead.
    """

    __tablename__ = "users"
    __table_args__ = (
        not_empty("email"),
        {"comment": "People who own bots. One with trades cannot be deleted."},
    )
    __repr_columns__ = ("id", "is_active")

    id: Mapped[IntPK]
    email: Mapped[str] = mapped_column(
        String(320),
        unique=True,
        index=True,
        comment="Login name. Unique as written: the application decides on upper and lower case.",
    )
    hashed_password: Mapped[str] = mapped_column(
        String(255), comment="Output of the application's password hash, never the password."
    )
    is_active: Mapped[bool] = mapped_column(
        default=True, server_default=true(), comment="Whether the user may log in."
    )

    api_keys: Mapped[list["ApiKey"]] = relationship(
        back_populates="owner",
        lazy="raise_on_sql",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    bot_configs: Mapped[list["BotConfig"]] = relationship(
        back_populates="owner",
        lazy="raise_on_sql",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
