"""Bot settings."""

from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, WriteOnlyMapped, mapped_column, relationship

from models.base import Base, CreatedUpdated, IntPK, Money, Percent
from models.checks import at_least, non_negative, not_empty, one_of, percentage
from models.enums import Timeframe

if TYPE_CHECKING:
    from models.bot_state import BotState
    from models.trade import Trade
    from models.user import User


class BotConfig(CreatedUpdated, Base):
    """The settings of one bot: what to trade, when to enter and exit, how much to risk.

    Deleting a bot deletes its state. A bot with trades cannot be deleted:
    :class:`sqlalchemy.exc.IntegrityError` is raised and nothing is deleted. Set ``is_active`` to
    false instead.

    ``trades`` may be millions of rows, so it is write-only and never loaded as a collection:
    ``bot.trades.select()`` is a statement to filter, order and limit; ``bot.trades.add(trade)``
    adds one.
    """

    __tablename__ = "bot_configs"
    __table_args__ = (
        # Referenced by the composite foreign key of trades.
        UniqueConstraint("id", "user_id"),
        not_empty("symbol"),
        one_of("timeframe", Timeframe),
        non_negative("initial_capital"),
        non_negative("daily_target_perc"),
        percentage("max_daily_loss_perc"),
        percentage("position_size_perc"),
        non_negative("position_size_fixed"),
        percentage("stop_loss_perc"),
        non_negative("take_profit_perc"),
        percentage("trailing_stop_perc"),
        at_least("ema_fast", 1),
        CheckConstraint("ema_fast < ema_slow", name="ema_fast_below_slow"),
        at_least("rsi_period", 1),
        CheckConstraint(
            "0 <= rsi_oversold AND rsi_oversold < rsi_overbought AND rsi_overbought <= 100",
            name="rsi_thresholds_ordered",
        ),
        at_least("max_daily_trades", 0),
        at_least("check_interval_seconds", 1),
        # Partial index for claim_due_bots().
        Index("ix_bot_configs_active", "id", postgresql_where=text("is_active")),
        {"comment": "Settings of each bot. One with trades cannot be deleted."},
    )
    __repr_columns__ = ("id", "user_id", "name", "symbol", "is_active")

    id: Mapped[IntPK]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(
        String(100), comment="The owner's name for the bot, such as BTC/USDT EMA Cross."
    )
    symbol: Mapped[str] = mapped_column(
        String(64), comment="Market as base/quote, such as BTC/USDT. May be Unicode."
    )
    timeframe: Mapped[str] = mapped_column(
        String(8), comment="Candle length, a Binance kline interval: 1m is a minute, 1M a month."
    )
    is_active: Mapped[bool] = mapped_column(
        default=False, server_default=false(), comment="The owner's on/off switch."
    )
    initial_capital: Mapped[Money | None] = mapped_column(
        comment="Capital at the start, in quote currency."
    )
    daily_target_perc: Mapped[Percent | None] = mapped_column(
        comment="Stop for the day after this gain, in percent. May exceed 100."
    )
    max_daily_loss_perc: Mapped[Percent | None] = mapped_column(
        comment="Stop for the day after this loss, in percent, 0 to 100."
    )
    position_size_perc: Mapped[Percent | None] = mapped_column(
        comment="Size of a position, in percent of the capital, 0 to 100."
    )
    position_size_fixed: Mapped[Money | None] = mapped_column(
        comment="Size of a position, in quote currency (e.g. USDT)."
    )
    stop_loss_perc: Mapped[Percent] = mapped_column(
        comment="Close at this loss below the entry price, in percent, 0 to 100."
    )
    take_profit_perc: Mapped[Percent] = mapped_column(
        comment="Close at this gain above the entry price, in percent. May exceed 100."
    )
    trailing_stop_perc: Mapped[Percent | None] = mapped_column(
        comment="Distance of the trailing stop below the highest price, in percent, 0 to 100."
    )
    trailing_stop_active: Mapped[bool] = mapped_column(
        default=False, server_default=false(), comment="Whether the trailing stop is used."
    )
    ema_fast: Mapped[int] = mapped_column(comment="Period of the fast moving average, in candles.")
    ema_slow: Mapped[int] = mapped_column(comment="Period of the slow moving average, in candles.")
    rsi_period: Mapped[int] = mapped_column(comment="Period of the RSI, in candles.")
    rsi_oversold: Mapped[int] = mapped_column(
        comment="RSI at or below which the market counts as oversold, 0 to 100."
    )
    rsi_overbought: Mapped[int] = mapped_column(
        comment="RSI at or above which the market counts as overbought, 0 to 100."
    )
    max_daily_trades: Mapped[int | None] = mapped_column(
        comment="Most trades in a day. NULL: no limit."
    )
    check_interval_seconds: Mapped[int] = mapped_column(
        default=60, server_default=text("60"), comment="Seconds between two runs of the bot."
    )

    owner: Mapped["User"] = relationship(back_populates="bot_configs", lazy="raise_on_sql")
    state: Mapped["BotState | None"] = relationship(
        back_populates="config",
        lazy="raise_on_sql",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    # "all": the database refuses to delete a bot with trades, and the ORM must not set their
    # foreign keys to NULL or delete them first.
    trades: WriteOnlyMapped["Trade"] = relationship(
        back_populates="bot",
        foreign_keys="Trade.bot_config_id",
        passive_deletes="all",
    )
