"""The application in the README serves requests and records reports, on a real database."""

import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Header
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

import models
from examples.exchange import LOT, Exchange
from models import User
from tests.support import factories
from tests.trading_bot import ROOT

SECTION = (
    (ROOT / "README.md")
    .read_text(encoding="utf-8")
    .partition("\n## Use in an application\n")[2]
    .partition("\n## ")[0]
)


def current_user_id(user: Annotated[int, Header()]) -> int:
    """Trust a header: how a request is authenticated is not the README's subject."""
    return user


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names in the section's blocks of Python, run as one module."""
    application = SimpleNamespace(current_user_id=current_user_id)
    monkeypatch.setitem(sys.modules, "your_application", application)
    code = "\n".join(re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    return names


@pytest.fixture
async def client(
    example: dict[str, Any], database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncClient]:
    monkeypatch.setenv("DATABASE_URL", database)
    transport = ASGITransport(example["app"], raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    await models.engine.dispose()


async def test_a_user_reads_the_trades_of_own_bots(
    client: AsyncClient, session: AsyncSession
) -> None:
    bot = await factories.add_bot(session)
    other = await factories.add_bot(session)
    session.add(factories.trade(bot))
    await session.commit()
    headers = {"user": str(bot.user_id)}
    own = await client.get(f"/bots/{bot.id}/trades", headers=headers)
    assert own.json() == {"status": "running", "trades": ["64000.120000000000000000"]}
    others = await client.get(f"/bots/{other.id}/trades", headers=headers)
    too_large = await client.get(f"/bots/{2**31}/trades", headers=headers)
    assert [others.status_code, too_large.status_code] == [404, 422]


async def test_a_request_whose_commit_fails_is_an_error(
    example: dict[str, Any], client: AsyncClient
) -> None:
    async def add_user(db: AsyncSession) -> None:
        db.add(User(email="", hashed_password=""))

    add_user.__annotations__["db"] = example["Session"]
    example["app"].add_api_route("/users", add_user, methods=["POST"])
    assert (await client.post("/users")).status_code == 500


async def test_the_state_follows_from_reports(
    example: dict[str, Any], client: AsyncClient, session: AsyncSession
) -> None:
    bot = await factories.add_bot(session)
    await session.commit()
    exchange = Exchange(datetime.now(UTC))
    exchange.new_order("BTCUSDT", "BUY", Decimal(1), "bot-1")
    reports = exchange.reports
    states = [await example["on_reports"](bot, reports[:n], dust=LOT) for n in (1, 2, 2)]
    assert [state.in_position for state in states] == [False, True, True]
    assert states[-1].current_position_size_coins == exchange.held("bot") == Decimal("0.999")
    assert states[-1].daily_trades_count == 1
