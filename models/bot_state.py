"""Bot state."""

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, Text, false, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Money, Timestamp
from models.checks import at_least, non_negative, not_nan, one_of
from models.enums import BotStatus

if TYPE_CHECKING:
    from models.bot_config import BotConfig


class BotState(Base):
    """The live state of one bot, updated at every run. Has its bot's id; deleted with the bot.

    No index may contain a column that every run changes, such as ``last_run_at``, so that the
    updates are heap-only (PostgreSQL docs, "Heap-Only Tuples") and write to no index.

    Attributes:
        in_position: Also if an entry is reserved: then there is no ``entry_price``.
        current_position_size_coins: All coins of the bot: when it is flat, what was too little to
            sell, if anything.
    """

    __tablename__ = "bot_states"
    __table_args__ = (
        one_of("status", BotStatus),
        non_negative("entry_price"),
        not_nan("current_position_size_coins"),
        non_negative("trailing_stop_price"),
        non_negative("max_price_since_entry"),
        non_negative("take_profit_price"),
        non_negative("stop_loss_price"),
        not_nan("daily_pnl"),
        at_least("daily_trades_count", 0),
        # Partial index for claim_due_bots().
        Index("ix_bot_states_running", "id", postgresql_where=text("status = 'running'")),
        {
            "comment": "Live state of each bot, one row a bot. Deleted with it.",
            # Space in each page for new row versions, so that updates are heap-only.
            "postgresql_with": {"fillfactor": 50},
        },
    )
    __repr_columns__ = ("id", "status", "in_position")

    id: Mapped[int] = mapped_column(
        ForeignKey("bot_configs.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        comment="The bot's id.",
    )
    status: Mapped[str] = mapped_column(
        String(16),
        default=BotStatus.STOPPED,
        server_default=text("'stopped'"),
        comment="running, stopped or error.",
    )
    in_position: Mapped[bool] = mapped_column(
        default=False,
        server_default=false(),
        comment="Whether the bot holds coins that it means to sell.",
    )
    entry_price: Mapped[Money | None] = mapped_column(
        comment="Average price of the open position, in quote currency for one coin."
    )
    current_position_size_coins: Mapped[Money | None] = mapped_column(
        comment="Size of the open position, in base currency (coins)."
    )
    trailing_stop_price: Mapped[Money | None] = mapped_column(
        comment="Price at which the trailing stop sells, in quote currency for one coin."
    )
    max_price_since_entry: Mapped[Money | None] = mapped_column(
        comment="Highest price since the position was opened, in quote currency for one coin."
    )
    take_profit_price: Mapped[Money | None] = mapped_column(
        comment="Price at which to sell with profit, in quote currency for one coin."
    )
    stop_loss_price: Mapped[Money | None] = mapped_column(
        comment="Price at which to sell with loss, in quote currency for one coin."
    )
    daily_pnl: Mapped[Money] = mapped_column(
        default=Decimal(0),
        server_default=text("0"),
        comment="Profit of the day so far, in quote currency. Negative: a loss.",
    )
    daily_trades_count: Mapped[int] = mapped_column(
        default=0, server_default=text("0"), comment="Trades of the day so far."
    )
    last_run_at: Mapped[Timestamp | None] = mapped_column(
        comment="When the bot last ran. NULL: never."
    )
    last_error_message: Mapped[str | None] = mapped_column(
        Text, comment="Why status is error, for the owner to read. No secrets."
    )
    last_updated_at: Mapped[Timestamp] = mapped_column(
        default=func.now(),
        server_default=func.now(),
        onupdate=func.now(),
        comment="When the application last changed the row. Raw SQL has to set it itself.",
    )

    config: Mapped["BotConfig"] = relationship(back_populates="state", lazy="raise_on_sql")
