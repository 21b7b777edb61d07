"""The examples run, and show what they say."""

from tests.support import commandline

FIRST_PAGE = """\
BTC/USDT EMA Cross: 9 reports, {new} new trades
2026-11-24: 7 trades, pnl +80.34 USDT

time   side      price  quantity      value       pnl
21:05  BUY   98,210.75    0.0500   4,910.54
16:20  SELL  98,333.30    0.0500   4,916.66    +81.92
14:45  BUY   96,500.00    0.0500   4,825.00
"""


def test_trading_day(database: str) -> None:
    for new in (7, 0):
        done = commandline.run("examples.trading_day", DATABASE_URL=database)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(FIRST_PAGE.format(new=new)), done.stdout
        # Every trade once, over all pages.
        assert done.stdout.count("BUY") + done.stdout.count("SELL") == 7
