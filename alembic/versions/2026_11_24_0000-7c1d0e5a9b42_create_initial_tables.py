"""Create the initial tables.

Why: the application keeps its users, their API keys, their bots, the live state of each bot and
the trades here. The comments on tables and columns say what each one means and its unit.
Locks: none. The tables are new.
Old code: works.
Downgrade: loses users, api_keys, bot_configs, bot_states, trades.

Revision ID: 7c1d0e5a9b42
Revises:
Create Date: 2026-11-24 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "7c1d0e5a9b42"
down_revision = None


def upgrade() -> None:
    """Create the five tables, each after those that it refers to."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), sa.Identity()),
        sa.Column(
            "email",
            sa.String(320),
            nullable=False,
            comment=(
                "Login name. Unique as written: the application decides on upper and lower case."
            ),
        ),
        sa.Column(
            "hashed_password",
            sa.String(255),
            nullable=False,
            comment="Output of the application's password hash, never the password.",
        ),
        sa.Column(
            "is_active",
            sa.Boolean(),
            nullable=False,
            server_default=sa.true(),
            comment="Whether the user may log in.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the row was made.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the application last changed the row. Raw SQL has to set it itself.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.CheckConstraint(
            "email <> ''",
            name=op.f("ck_users_email_not_empty"),
        ),
        comment="People who own bots. One with trades cannot be deleted.",
    )
    op.create_index(op.f("ix_users_email"), "users", ["email"], unique=True)

    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), sa.Identity()),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column(
            "encrypted_api_key",
            sa.Text(),
            nullable=False,
            comment="Ciphertext of the API key, as text. An encrypted RSA key is kilobytes.",
        ),
        sa.Column(
            "encrypted_secret_key",
            sa.Text(),
            nullable=False,
            comment="Ciphertext of the secret key, as text.",
        ),
        sa.Column(
            "label",
            sa.String(100),
            comment="The owner's name for the key, such as My Main Binance Account.",
        ),
        sa.Column(
            "is_valid",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="Whether Binance accepted the key when it was last tried.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the row was made.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the application last changed the row. Raw SQL has to set it itself.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_api_keys_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "encrypted_api_key <> ''",
            name=op.f("ck_api_keys_encrypted_api_key_not_empty"),
        ),
        sa.CheckConstraint(
            "encrypted_secret_key <> ''",
            name=op.f("ck_api_keys_encrypted_secret_key_not_empty"),
        ),
        comment="Binance API keys, encrypted by the application. Deleted with their owner.",
    )
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"])

    op.create_table(
        "bot_configs",
        sa.Column("id", sa.Integer(), sa.Identity()),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column(
            "name",
            sa.String(100),
            nullable=False,
            comment="The owner's name for the bot, such as BTC/USDT EMA Cross.",
        ),
        sa.Column(
            "symbol",
            sa.String(64),
            nullable=False,
            comment="Market as base/quote, such as BTC/USDT. May be Unicode.",
        ),
        sa.Column(
            "timeframe",
            sa.String(8),
            nullable=False,
            comment="Candle length, a Binance kline interval: 1m is a minute, 1M a month.",
        ),
        sa.Column(
            "is_active",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="The owner's on/off switch.",
        ),
        sa.Column(
            "initial_capital",
            sa.Numeric(38, 18),
            comment="Capital at the start, in quote currency.",
        ),
        sa.Column(
            "daily_target_perc",
            sa.Numeric(12, 6),
            comment="Stop for the day after this gain, in percent. May exceed 100.",
        ),
        sa.Column(
            "max_daily_loss_perc",
            sa.Numeric(12, 6),
            comment="Stop for the day after this loss, in percent, 0 to 100.",
        ),
        sa.Column(
            "position_size_perc",
            sa.Numeric(12, 6),
            comment="Size of a position, in percent of the capital, 0 to 100.",
        ),
        sa.Column(
            "position_size_fixed",
            sa.Numeric(38, 18),
            comment="Size of a position, in quote currency (e.g. USDT).",
        ),
        sa.Column(
            "stop_loss_perc",
            sa.Numeric(12, 6),
            nullable=False,
            comment="Close at this loss below the entry price, in percent, 0 to 100.",
        ),
        sa.Column(
            "take_profit_perc",
            sa.Numeric(12, 6),
            nullable=False,
            comment="Close at this gain above the entry price, in percent. May exceed 100.",
        ),
        sa.Column(
            "trailing_stop_perc",
            sa.Numeric(12, 6),
            comment="Distance of the trailing stop below the highest price, in percent, 0 to 100.",
        ),
        sa.Column(
            "trailing_stop_active",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="Whether the trailing stop is used.",
        ),
        sa.Column(
            "ema_fast",
            sa.Integer(),
            nullable=False,
            comment="Period of the fast moving average, in candles.",
        ),
        sa.Column(
            "ema_slow",
            sa.Integer(),
            nullable=False,
            comment="Period of the slow moving average, in candles.",
        ),
        sa.Column(
            "rsi_period",
            sa.Integer(),
            nullable=False,
            comment="Period of the RSI, in candles.",
        ),
        sa.Column(
            "rsi_oversold",
            sa.Integer(),
            nullable=False,
            comment="RSI at or below which the market counts as oversold, 0 to 100.",
        ),
        sa.Column(
            "rsi_overbought",
            sa.Integer(),
            nullable=False,
            comment="RSI at or above which the market counts as overbought, 0 to 100.",
        ),
        sa.Column(
            "max_daily_trades",
            sa.Integer(),
            comment="Most trades in a day. NULL: no limit.",
        ),
        sa.Column(
            "check_interval_seconds",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("60"),
            comment="Seconds between two runs of the bot.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the row was made.",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the application last changed the row. Raw SQL has to set it itself.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_configs")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_bot_configs_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("id", "user_id", name=op.f("uq_bot_configs_id_user_id")),
        sa.CheckConstraint(
            "symbol <> ''",
            name=op.f("ck_bot_configs_symbol_not_empty"),
        ),
        sa.CheckConstraint(
            "timeframe IN ('1s', '1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '8h',"
            " '12h', '1d', '3d', '1w', '1M')",
            name=op.f("ck_bot_configs_timeframe_known"),
        ),
        sa.CheckConstraint(
            "initial_capital >= 0 AND initial_capital <> 'NaN'",
            name=op.f("ck_bot_configs_initial_capital_non_negative"),
        ),
        sa.CheckConstraint(
            "daily_target_perc >= 0 AND daily_target_perc <> 'NaN'",
            name=op.f("ck_bot_configs_daily_target_perc_non_negative"),
        ),
        sa.CheckConstraint(
            "max_daily_loss_perc BETWEEN 0 AND 100",
            name=op.f("ck_bot_configs_max_daily_loss_perc_percentage"),
        ),
        sa.CheckConstraint(
            "position_size_perc BETWEEN 0 AND 100",
            name=op.f("ck_bot_configs_position_size_perc_percentage"),
        ),
        sa.CheckConstraint(
            "position_size_fixed >= 0 AND position_size_fixed <> 'NaN'",
            name=op.f("ck_bot_configs_position_size_fixed_non_negative"),
        ),
        sa.CheckConstraint(
            "stop_loss_perc BETWEEN 0 AND 100",
            name=op.f("ck_bot_configs_stop_loss_perc_percentage"),
        ),
        sa.CheckConstraint(
            "take_profit_perc >= 0 AND take_profit_perc <> 'NaN'",
            name=op.f("ck_bot_configs_take_profit_perc_non_negative"),
        ),
        sa.CheckConstraint(
            "trailing_stop_perc BETWEEN 0 AND 100",
            name=op.f("ck_bot_configs_trailing_stop_perc_percentage"),
        ),
        sa.CheckConstraint(
            "ema_fast >= 1",
            name=op.f("ck_bot_configs_ema_fast_at_least_1"),
        ),
        sa.CheckConstraint(
            "ema_fast < ema_slow",
            name=op.f("ck_bot_configs_ema_fast_below_slow"),
        ),
        sa.CheckConstraint(
            "rsi_period >= 1",
            name=op.f("ck_bot_configs_rsi_period_at_least_1"),
        ),
        sa.CheckConstraint(
            "0 <= rsi_oversold AND rsi_oversold < rsi_overbought AND rsi_overbought <= 100",
            name=op.f("ck_bot_configs_rsi_thresholds_ordered"),
        ),
        sa.CheckConstraint(
            "max_daily_trades >= 0",
            name=op.f("ck_bot_configs_max_daily_trades_at_least_0"),
        ),
        sa.CheckConstraint(
            "check_interval_seconds >= 1",
            name=op.f("ck_bot_configs_check_interval_seconds_at_least_1"),
        ),
        comment="Settings of each bot. One with trades cannot be deleted.",
    )
    op.create_index(op.f("ix_bot_configs_user_id"), "bot_configs", ["user_id"])

    op.create_table(
        "bot_states",
        sa.Column(
            "id",
            sa.Integer(),
            comment="The bot's id.",
        ),
        sa.Column(
            "status",
            sa.String(16),
            nullable=False,
            server_default=sa.text("'stopped'"),
            comment="running, stopped or error.",
        ),
        sa.Column(
            "in_position",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="Whether the bot holds coins that it means to sell.",
        ),
        sa.Column(
            "entry_price",
            sa.Numeric(38, 18),
            comment="Average price of the open position, in quote currency for one coin.",
        ),
        sa.Column(
            "current_position_size_coins",
            sa.Numeric(38, 18),
            comment="Size of the open position, in base currency (coins).",
        ),
        sa.Column(
            "trailing_stop_price",
            sa.Numeric(38, 18),
            comment="Price at which the trailing stop sells, in quote currency for one coin.",
        ),
        sa.Column(
            "max_price_since_entry",
            sa.Numeric(38, 18),
            comment="Highest price since the position was opened, in quote currency for one coin.",
        ),
        sa.Column(
            "take_profit_price",
            sa.Numeric(38, 18),
            comment="Price at which to sell with profit, in quote currency for one coin.",
        ),
        sa.Column(
            "stop_loss_price",
            sa.Numeric(38, 18),
            comment="Price at which to sell with loss, in quote currency for one coin.",
        ),
        sa.Column(
            "daily_pnl",
            sa.Numeric(38, 18),
            nullable=False,
            server_default=sa.text("0"),
            comment="Profit of the day so far, in quote currency. Negative: a loss.",
        ),
        sa.Column(
            "daily_trades_count",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Trades of the day so far.",
        ),
        sa.Column(
            "last_run_at",
            sa.DateTime(timezone=True),
            comment="When the bot last ran. NULL: never.",
        ),
        sa.Column(
            "last_error_message",
            sa.Text(),
            comment="Why status is error, for the owner to read. No secrets.",
        ),
        sa.Column(
            "last_updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the application last changed the row. Raw SQL has to set it itself.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_states")),
        sa.ForeignKeyConstraint(
            ["id"],
            ["bot_configs.id"],
            name=op.f("fk_bot_states_id_bot_configs"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'stopped', 'error')",
            name=op.f("ck_bot_states_status_known"),
        ),
        sa.CheckConstraint(
            "entry_price >= 0 AND entry_price <> 'NaN'",
            name=op.f("ck_bot_states_entry_price_non_negative"),
        ),
        sa.CheckConstraint(
            "current_position_size_coins <> 'NaN'",
            name=op.f("ck_bot_states_current_position_size_coins_not_nan"),
        ),
        sa.CheckConstraint(
            "trailing_stop_price >= 0 AND trailing_stop_price <> 'NaN'",
            name=op.f("ck_bot_states_trailing_stop_price_non_negative"),
        ),
        sa.CheckConstraint(
            "max_price_since_entry >= 0 AND max_price_since_entry <> 'NaN'",
            name=op.f("ck_bot_states_max_price_since_entry_non_negative"),
        ),
        sa.CheckConstraint(
            "take_profit_price >= 0 AND take_profit_price <> 'NaN'",
            name=op.f("ck_bot_states_take_profit_price_non_negative"),
        ),
        sa.CheckConstraint(
            "stop_loss_price >= 0 AND stop_loss_price <> 'NaN'",
            name=op.f("ck_bot_states_stop_loss_price_non_negative"),
        ),
        sa.CheckConstraint(
            "daily_pnl <> 'NaN'",
            name=op.f("ck_bot_states_daily_pnl_not_nan"),
        ),
        sa.CheckConstraint(
            "daily_trades_count >= 0",
            name=op.f("ck_bot_states_daily_trades_count_at_least_0"),
        ),
        comment="Live state of each bot, one row a bot. Deleted with it.",
    )

    op.create_table(
        "trades",
        sa.Column("id", sa.Integer(), sa.Identity()),
        sa.Column("bot_config_id", sa.Integer(), nullable=False),
        sa.Column(
            "user_id",
            sa.Integer(),
            nullable=False,
            comment="Owner of the bot, repeated for easy queries.",
        ),
        sa.Column(
            "binance_order_id",
            sa.String(64),
            comment=(
                "Order id qualified with its symbol, such as BTCUSDT:28, since Binance numbers"
                " orders within a symbol. NULL: a paper trade."
            ),
        ),
        sa.Column(
            "symbol",
            sa.String(64),
            nullable=False,
            comment="Market as base/quote, such as BTC/USDT. May be Unicode.",
        ),
        sa.Column(
            "side",
            sa.String(4),
            nullable=False,
            comment="BUY or SELL.",
        ),
        sa.Column(
            "order_type",
            sa.String(32),
            nullable=False,
            comment="Binance spot order type, such as MARKET or LIMIT.",
        ),
        sa.Column(
            "price",
            sa.Numeric(38, 18),
            nullable=False,
            comment="Average fill price, in quote currency for one coin.",
        ),
        sa.Column(
            "quantity_filled",
            sa.Numeric(38, 18),
            nullable=False,
            comment="Amount filled, in base currency (coins).",
        ),
        sa.Column(
            "quote_quantity_filled",
            sa.Numeric(38, 18),
            nullable=False,
            comment="Amount filled, in quote currency (e.g. USDT).",
        ),
        sa.Column(
            "commission_amount",
            sa.Numeric(38, 18),
            comment="Fee paid, in commission_asset. Negative: a rebate.",
        ),
        sa.Column(
            "commission_asset",
            sa.String(32),
            comment="Currency of the fee, such as BNB.",
        ),
        sa.Column(
            "pnl",
            sa.Numeric(38, 18),
            comment=(
                "Profit realised by this trade, in quote currency, usually computed when the"
                " position closes. Negative: a loss. NULL: none yet."
            ),
        ),
        sa.Column(
            "timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When the order was filled.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trades")),
        sa.ForeignKeyConstraint(
            ["bot_config_id"],
            ["bot_configs.id"],
            name=op.f("fk_trades_bot_config_id_bot_configs"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["bot_config_id", "user_id"],
            ["bot_configs.id", "bot_configs.user_id"],
            name=op.f("fk_trades_bot_config_id_user_id_bot_configs"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_trades_user_id_users"),
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint("binance_order_id", name=op.f("uq_trades_binance_order_id")),
        sa.CheckConstraint(
            "binance_order_id <> ''",
            name=op.f("ck_trades_binance_order_id_not_empty"),
        ),
        sa.CheckConstraint(
            "symbol <> ''",
            name=op.f("ck_trades_symbol_not_empty"),
        ),
        sa.CheckConstraint(
            "side IN ('BUY', 'SELL')",
            name=op.f("ck_trades_side_known"),
        ),
        sa.CheckConstraint(
            "order_type IN ('LIMIT', 'MARKET', 'STOP_LOSS', 'STOP_LOSS_LIMIT', 'TAKE_PROFIT',"
            " 'TAKE_PROFIT_LIMIT', 'LIMIT_MAKER')",
            name=op.f("ck_trades_order_type_known"),
        ),
        sa.CheckConstraint(
            "price >= 0 AND price <> 'NaN'",
            name=op.f("ck_trades_price_non_negative"),
        ),
        sa.CheckConstraint(
            "quantity_filled >= 0 AND quantity_filled <> 'NaN'",
            name=op.f("ck_trades_quantity_filled_non_negative"),
        ),
        sa.CheckConstraint(
            "quote_quantity_filled >= 0 AND quote_quantity_filled <> 'NaN'",
            name=op.f("ck_trades_quote_quantity_filled_non_negative"),
        ),
        sa.CheckConstraint(
            "commission_amount <> 'NaN'",
            name=op.f("ck_trades_commission_amount_not_nan"),
        ),
        sa.CheckConstraint(
            "pnl <> 'NaN'",
            name=op.f("ck_trades_pnl_not_nan"),
        ),
        comment="Filled orders. Financial records: their bot and user cannot be deleted.",
    )
    op.create_index(op.f("ix_trades_bot_config_id"), "trades", ["bot_config_id"])
    op.create_index(op.f("ix_trades_user_id"), "trades", ["user_id"])


def downgrade() -> None:
    """Drop the five tables; their indexes, constraints and rows go with them."""
    op.drop_table("trades")
    op.drop_table("bot_states")
    op.drop_table("bot_configs")
    op.drop_table("api_keys")
    op.drop_table("users")
