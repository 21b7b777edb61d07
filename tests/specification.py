"""The tables as their users specified them, in one place and in plain text.

Neither the models nor the migrations are derived from this, nor this from them: the tests compare
all three.
"""

COLUMNS = """
column                                  | type           | null | default   | on update | keys    | personal

users.id                                | integer        |      | identity  |           | primary |
users.email                             | varchar(320)   |      |           |           | unique  | yes
users.hashed_password                   | varchar(255)   |      |           |           |         | yes
users.is_active                         | boolean        |      | true      |           |         |
users.created_at                        | timestamptz    |      | now()     |           |         |
users.updated_at                        | timestamptz    |      | now()     | now()     |         |

api_keys.id                             | integer        |      | identity  |           | primary |
api_keys.user_id                        | integer        |      |           |           | index   |
api_keys.encrypted_api_key              | text           |      |           |           |         | yes
api_keys.encrypted_secret_key           | text           |      |           |           |         | yes
api_keys.label                          | varchar(100)   | null |           |           |         | yes
api_keys.is_valid                       | boolean        |      | false     |           |         |
api_keys.created_at                     | timestamptz    |      | now()     |           |         |
api_keys.updated_at                     | timestamptz    |      | now()     | now()     |         |

bot_configs.id                          | integer        |      | identity  |           | primary |
bot_configs.user_id                     | integer        |      |           |           | index   |
bot_configs.name                        | varchar(100)   |      |           |           |         | yes
bot_configs.symbol                      | varchar(64)    |      |           |           |         | no
bot_configs.timeframe                   | varchar(8)     |      |           |           |         | no
bot_configs.is_active                   | boolean        |      | false     |           |         |
bot_configs.initial_capital             | numeric(38,18) | null |           |           |         |
bot_configs.daily_target_perc           | numeric(12,6)  | null |           |           |         |
bot_configs.max_daily_loss_perc         | numeric(12,6)  | null |           |           |         |
bot_configs.position_size_perc          | numeric(12,6)  | null |           |           |         |
bot_configs.position_size_fixed         | numeric(38,18) | null |           |           |         |
bot_configs.stop_loss_perc              | numeric(12,6)  |      |           |           |         |
bot_configs.take_profit_perc            | numeric(12,6)  |      |           |           |         |
bot_configs.trailing_stop_perc          | numeric(12,6)  | null |           |           |         |
bot_configs.trailing_stop_active        | boolean        |      | false     |           |         |
bot_configs.ema_fast                    | integer        |      |           |           |         |
bot_configs.ema_slow                    | integer        |      |           |           |         |
bot_configs.rsi_period                  | integer        |      |           |           |         |
bot_configs.rsi_oversold                | integer        |      |           |           |         |
bot_configs.rsi_overbought              | integer        |      |           |           |         |
bot_configs.max_daily_trades            | integer        | null |           |           |         |
bot_configs.check_interval_seconds      | integer        |      | 60        |           |         |
bot_configs.created_at                  | timestamptz    |      | now()     |           |         |
bot_configs.updated_at                  | timestamptz    |      | now()     | now()     |         |

bot_states.id                           | integer        |      |           |           | primary |
bot_states.status                       | varchar(16)    |      | stopped   |           |         | no
bot_states.in_position                  | boolean        |      | false     |           |         |
bot_states.entry_price                  | numeric(38,18) | null |           |           |         |
bot_states.current_position_size_coins  | numeric(38,18) | null |           |           |         |
bot_states.trailing_stop_price          | numeric(38,18) | null |           |           |         |
bot_states.max_price_since_entry        | numeric(38,18) | null |           |           |         |
bot_states.take_profit_price            | numeric(38,18) | null |           |           |         |
bot_states.stop_loss_price              | numeric(38,18) | null |           |           |         |
bot_states.daily_pnl                    | numeric(38,18) |      | 0         |           |         |
bot_states.daily_trades_count           | integer        |      | 0         |           |         |
bot_states.last_run_at                  | timestamptz    | null |           |           |         |
bot_states.last_error_message           | text           | null |           |           |         | yes
bot_states.last_updated_at              | timestamptz    |      | now()     | now()     |         |

trades.id                               | integer        |      | identity  |           | primary |
trades.bot_config_id                    | integer        |      |           |           | index   |
trades.user_id                          | integer        |      |           |           | index   |
trades.binance_order_id                 | varchar(64)    | null |           |           | unique  | no
trades.symbol                           | varchar(64)    |      |           |           |         | no
trades.side                             | varchar(4)     |      |           |           |         | no
trades.order_type                       | varchar(32)    |      |           |           |         | no
trades.price                            | numeric(38,18) |      |           |           |         |
trades.quantity_filled                  | numeric(38,18) |      |           |           |         |
trades.quote_quantity_filled            | numeric(38,18) |      |           |           |         |
trades.commission_amount                | numeric(38,18) | null |           |           |         |
trades.commission_asset                 | varchar(32)    | null |           |           |         | no
trades.pnl                              | numeric(38,18) | null |           |           |         |
trades.timestamp                        | timestamptz    |      | now()     |           |         |
"""  # noqa: E501

FOREIGN_KEYS = """
api_keys (user_id)                -> users (id)                on delete cascade
bot_configs (user_id)             -> users (id)                on delete cascade
bot_states (id)                   -> bot_configs (id)          on delete cascade
trades (bot_config_id)            -> bot_configs (id)          on delete restrict
trades (bot_config_id, user_id)   -> bot_configs (id, user_id) on delete restrict
trades (user_id)                  -> users (id)                on delete restrict
"""

RELATIONSHIPS = """
User.api_keys       one-to-many   ApiKey      back: owner
User.bot_configs    one-to-many   BotConfig   back: owner
ApiKey.owner        many-to-one   User        back: api_keys
BotConfig.owner     many-to-one   User        back: bot_configs
BotConfig.state     one-to-one    BotState    back: config
BotConfig.trades    one-to-many   Trade       back: bot
BotState.config     one-to-one    BotConfig   back: state
Trade.bot           many-to-one   BotConfig   back: trades
Trade.user          many-to-one   User        back: -
"""


def rows(text: str, separator: str | None = None) -> list[tuple[str, ...]]:
    """Split a table of this module into its cells, without empty lines."""
    lines = (line for line in text.splitlines() if line.strip())
    return [tuple(cell.strip() for cell in line.split(separator)) for line in lines]


def columns() -> list[tuple[str, ...]]:
    """List the specified columns, without the heading."""
    return rows(COLUMNS, "|")[1:]


def personal_columns() -> list[str]:
    """List the columns that may hold personal data, which ``forget_user()`` erases."""
    return [name for name, *_, personal in columns() if personal == "yes"]


def numeric_columns() -> list[str]:
    """List the columns that hold money or percentages, as ``table.column``."""
    return [name for name, type_, *_ in columns() if type_.startswith("numeric")]
