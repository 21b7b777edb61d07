"""The examples run against a live database, and their books balance with every seed."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from examples.exchange import LOT, Exchange
from tests.support import commandline, factories
from tests.trading_bot import ROOT


@pytest.mark.parametrize("seed", ["7", "20", "300"])
def test_the_books_balance(database: str, seed: str) -> None:
    result = commandline.example("--seed", seed, DATABASE_URL=database).succeeded()
    # Four bots, before and after the user leaves.
    assert len(re.findall(" agree$", result.stdout, re.MULTILINE)) == 8


def test_a_database_without_tables(empty_database: str) -> None:
    result = commandline.example(DATABASE_URL=empty_database)
    message = "Run `alembic upgrade head` on this database first."
    assert result.stderr == f'ERROR relation "users" does not exist. {message}\n'


async def test_the_code_in_the_documentation(engine: AsyncEngine) -> None:
    """Reports come in, they are recorded, the state follows."""
    page = (ROOT / "docs/life-of-a-bot.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/life-of-a-bot.md", "exec"), names)  # noqa: S102
    names["SessionLocal"] = async_sessionmaker(engine, expire_on_commit=False)
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        bot = await factories.add_bot(session)
    exchange = Exchange(datetime.now(UTC))
    exchange.new_order("BTCUSDT", "BUY", Decimal(1), "bot-1")
    reports = exchange.reports
    states = [await names["on_reports"](bot, reports[:n], dust=LOT) for n in (1, 2, 2)]
    assert [state.in_position for state in states] == [False, True, True]
    assert states[-1].current_position_size_coins == exchange.held("bot") == Decimal("0.999")
    assert states[-1].daily_trades_count == 1
