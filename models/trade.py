"""Filled orders."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NotRequired, TypedDict

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, IntPK, Money, Timestamp
from models.checks import non_negative, not_empty, not_nan, one_of, upper_case
from models.enums import Side

if TYPE_CHECKING:
    from models.bot_config import BotConfig
    from models.user import User


class TradeValues(TypedDict):
    """What is known of a filled order: the columns of :class:`Trade` that a caller states.

    Amounts are exact and cumulative over the whole order, not of a single fill, which Binance
    calls a trade; :mod:`models.binance` makes them from the exchange's payloads. All that is not
    known may be left out, or be None.

    Attributes:
        binance_order_id: :func:`models.order_key.order_key`; None: a trade on paper, which is
            always a new one.
        timestamp: Time of the order's first fill on the exchange's clock, or of a later report
            about it.
        commission_amount: Of the whole ``quantity_filled``; None if it is not known for all fills.
        commission_asset: One; if two are paid, as when BNB runs out, the coin itself, so that the
            size is right.
    """

    bot_config_id: int
    user_id: int
    binance_order_id: str | None
    symbol: str
    side: str
    order_type: str
    price: Decimal
    quantity_filled: Decimal
    quote_quantity_filled: Decimal
    timestamp: datetime
    commission_amount: NotRequired[Decimal | None]
    commission_asset: NotRequired[str | None]
    pnl: NotRequired[Decimal | None]


class Trade(Base):
    """One filled order of a bot: a financial record.

    Its bot and its user cannot be deleted while it exists. ``user_id`` repeats the owner of the
    bot, so that queries by user need no join; a composite foreign key keeps the two equal.

    Attributes:
        binance_order_id: Order id qualified with its symbol, such as ``BTCUSDT:28``. Binance's
            order ids are unique only within a symbol, so the application has to qualify them with
            :func:`models.order_key.order_key`. NULL for paper trades.
    """

    __tablename__ = "trades"
    __table_args__ = (
        ForeignKeyConstraint(
            ["bot_config_id", "user_id"],
            ["bot_configs.id", "bot_configs.user_id"],
            ondelete="RESTRICT",
        ),
        not_empty("binance_order_id"),
        not_empty("symbol"),
        one_of("side", Side),
        # Not one_of(): the exchange may add a type, and a fill must not be refused.
        upper_case("order_type"),
        non_negative("price"),
        non_negative("quantity_filled"),
        non_negative("quote_quantity_filled"),
        not_nan("commission_amount"),
        not_nan("pnl"),
        # For the latest trades of a bot, and its trades of a day.
        Index(None, "bot_config_id", "timestamp", "id"),
        # For the latest trades of a user. The included columns allow an index-only scan for the
        # realised pnl.
        Index(None, "user_id", "timestamp", "id", postgresql_include=["symbol", "pnl"]),
        {
            "comment": "Filled orders. Financial records: their bot and user cannot be deleted.",
            # Index-only scans need pages that are marked all-visible by a vacuum. By default
            # autovacuum waits until a fifth of the table is new, which can take months.
            "postgresql_with": {
                "autovacuum_vacuum_insert_scale_factor": 0,
                "autovacuum_vacuum_insert_threshold": 10_000,
            },
        },
    )
    __repr_columns__ = ("id", "bot_config_id", "symbol", "side")

    id: Mapped[IntPK]
    bot_config_id: Mapped[int] = mapped_column(
        ForeignKey("bot_configs.id", ondelete="RESTRICT"), index=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="RESTRICT"),
        index=True,
        comment="Owner of the bot, repeated for easy queries.",
    )
    binance_order_id: Mapped[str | None] = mapped_column(
        String(64),
        unique=True,
        comment=(
            "Order id qualified with its symbol, such as BTCUSDT:28, since Binance numbers"
            " orders within a symbol. NULL: a paper trade."
        ),
    )
    symbol: Mapped[str] = mapped_column(
        String(64), comment="Market as base/quote, such as BTC/USDT. May be Unicode."
    )
    side: Mapped[str] = mapped_column(String(4), comment="BUY or SELL.")
    order_type: Mapped[str] = mapped_column(
        String(32), comment="Binance spot order type, such as MARKET or LIMIT."
    )
    price: Mapped[Money] = mapped_column(
        comment="Average fill price, in quote currency for one coin."
    )
    quantity_filled: Mapped[Money] = mapped_column(
        comment="Amount filled, in base currency (coins)."
    )
    quote_quantity_filled: Mapped[Money] = mapped_column(
        comment="Amount filled, in quote currency (e.g. USDT)."
    )
    commission_amount: Mapped[Money | None] = mapped_column(
        comment="Fee paid, in commission_asset. Negative: a rebate."
    )
    commission_asset: Mapped[str | None] = mapped_column(
        String(32), comment="Currency of the fee, such as BNB."
    )
    pnl: Mapped[Money | None] = mapped_column(
        comment=(
            "Profit realised by this trade, in quote currency, usually computed when the"
            " position closes. Negative: a loss. NULL: none yet."
        )
    )
    timestamp: Mapped[Timestamp] = mapped_column(
        default=func.now(), server_default=func.now(), comment="When the order was filled."
    )

    bot: Mapped["BotConfig"] = relationship(
        back_populates="trades", foreign_keys=[bot_config_id], lazy="raise_on_sql"
    )
    user: Mapped["User"] = relationship(foreign_keys=[user_id], lazy="raise_on_sql")
