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

ENUMS = """
Side        BUY SELL
BotStatus   running stopped error
OrderType   LIMIT MARKET STOP_LOSS STOP_LOSS_LIMIT TAKE_PROFIT TAKE_PROFIT_LIMIT LIMIT_MAKER
Timeframe   1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M
"""

CHECKS = """
constraint
    invalid row                                        | nearest valid row

ck_users_email_not_empty
    email=                                             | email=a
ck_api_keys_encrypted_api_key_not_empty
    encrypted_api_key=                                 | encrypted_api_key=x
ck_api_keys_encrypted_secret_key_not_empty
    encrypted_secret_key=                              | encrypted_secret_key=x
ck_bot_configs_symbol_not_empty
    symbol=                                            | symbol=币安人生/USDT
ck_bot_configs_timeframe_known
    timeframe=1H                                       | timeframe=1h
    timeframe=2M                                       | timeframe=1M
ck_bot_configs_initial_capital_non_negative
    initial_capital=-0.000000000000000001              | initial_capital=0
ck_bot_configs_daily_target_perc_non_negative
    daily_target_perc=-0.000001                        | daily_target_perc=0
    daily_target_perc=NaN                              | daily_target_perc=999999.999999
ck_bot_configs_max_daily_loss_perc_percentage
    max_daily_loss_perc=-0.000001                      | max_daily_loss_perc=0
    max_daily_loss_perc=100.000001                     | max_daily_loss_perc=100
ck_bot_configs_position_size_perc_percentage
    position_size_perc=-0.000001                       | position_size_perc=0
    position_size_perc=100.000001                      | position_size_perc=100
ck_bot_configs_position_size_fixed_non_negative
    position_size_fixed=-0.000000000000000001          | position_size_fixed=0
ck_bot_configs_stop_loss_perc_percentage
    stop_loss_perc=-0.000001                           | stop_loss_perc=0
    stop_loss_perc=100.000001                          | stop_loss_perc=100
ck_bot_configs_take_profit_perc_non_negative
    take_profit_perc=-0.000001                         | take_profit_perc=0
    take_profit_perc=NaN                               | take_profit_perc=1000
ck_bot_configs_trailing_stop_perc_percentage
    trailing_stop_perc=-0.000001                       | trailing_stop_perc=0
    trailing_stop_perc=100.000001                      | trailing_stop_perc=100
ck_bot_configs_ema_fast_at_least_1
    ema_fast=0                                         | ema_fast=1
ck_bot_configs_ema_fast_below_slow
    ema_fast=21 ema_slow=21                            | ema_fast=20 ema_slow=21
ck_bot_configs_rsi_period_at_least_1
    rsi_period=0                                       | rsi_period=1
ck_bot_configs_rsi_thresholds_ordered
    rsi_oversold=-1                                    | rsi_oversold=0
    rsi_overbought=101                                 | rsi_overbought=100
    rsi_oversold=70                                    | rsi_oversold=69
ck_bot_configs_max_daily_trades_at_least_0
    max_daily_trades=-1                                | max_daily_trades=0
ck_bot_configs_check_interval_seconds_at_least_1
    check_interval_seconds=0                           | check_interval_seconds=1
ck_bot_states_status_known
    status=Running                                     | status=running
ck_bot_states_entry_price_non_negative
    entry_price=-0.000000000000000001                  | entry_price=0
ck_bot_states_current_position_size_coins_not_nan
    current_position_size_coins=NaN                    | current_position_size_coins=0
ck_bot_states_trailing_stop_price_non_negative
    trailing_stop_price=-0.000000000000000001          | trailing_stop_price=0
ck_bot_states_max_price_since_entry_non_negative
    max_price_since_entry=-0.000000000000000001        | max_price_since_entry=0
ck_bot_states_take_profit_price_non_negative
    take_profit_price=-0.000000000000000001            | take_profit_price=0
ck_bot_states_stop_loss_price_non_negative
    stop_loss_price=-0.000000000000000001              | stop_loss_price=0
ck_bot_states_daily_pnl_not_nan
    daily_pnl=NaN                                      | daily_pnl=-99999999999999999999.9999
ck_bot_states_daily_trades_count_at_least_0
    daily_trades_count=-1                              | daily_trades_count=0
ck_trades_binance_order_id_not_empty
    binance_order_id=                                  | binance_order_id=BTCUSDT:28
ck_trades_symbol_not_empty
    symbol=                                            | symbol=1
ck_trades_side_known
    side=HOLD                                          | side=SELL
    side=buy                                           | side=BUY
ck_trades_order_type_upper_case
    order_type=Market                                  | order_type=MARKET
    order_type=2_LEGS                                  | order_type=LEGS_2
    order_type=_PEGGED                                 | order_type=PEGGED_TO_INDEX
    order_type=                                        | order_type=X
ck_trades_price_non_negative
    price=-0.000000000000000001                        | price=0
ck_trades_quantity_filled_non_negative
    quantity_filled=-0.000000000000000001              | quantity_filled=0
ck_trades_quote_quantity_filled_non_negative
    quote_quantity_filled=-0.000000000000000001        | quote_quantity_filled=0
ck_trades_commission_amount_not_nan
    commission_amount=NaN                              | commission_amount=-0.1
ck_trades_pnl_not_nan
    pnl=NaN                                            | pnl=-99999999999999999999.9999
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


def tables() -> list[str]:
    """List the tables, each after those that it references."""
    return list(dict.fromkeys(name.partition(".")[0] for name, *_ in columns()))


def required(table: str) -> list[str]:
    """List the columns of a table that have to be given a value."""
    return [
        name.partition(".")[2]
        for name, _, null, default, *_ in columns()
        if name.startswith(f"{table}.") and not null and not default
    ]
