"""The values that some text columns accept; for :class:`OrderType`, those that are known.

The columns are strings with a CHECK constraint rather than native PostgreSQL enums, whose
values cannot be removed (PostgreSQL docs, "Enumerated Types"). The members are strings too, so
``trade.side == Side.BUY`` also holds for a row that was read from the database.
"""

from enum import StrEnum


class Side(StrEnum):
    """Direction of an order.

    Source: Binance spot API, enum "Order side".
    """

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """Type of an order that is known. Trades may have others: the exchange may add some.

    Source: Binance spot API, enum "Order types".
    """

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"
    LIMIT_MAKER = "LIMIT_MAKER"


class BotStatus(StrEnum):
    """Status of a bot."""

    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class Timeframe(StrEnum):
    """Length of one candle. Case matters: ``1m`` is a minute, ``1M`` a month.

    Source: Binance spot API, "Kline/Candlestick chart intervals".
    """

    SECOND_1 = "1s"
    MINUTE_1 = "1m"
    MINUTE_3 = "3m"
    MINUTE_5 = "5m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_2 = "2h"
    HOUR_4 = "4h"
    HOUR_6 = "6h"
    HOUR_8 = "8h"
    HOUR_12 = "12h"
    DAY_1 = "1d"
    DAY_3 = "3d"
    WEEK_1 = "1w"
    MONTH_1 = "1M"
