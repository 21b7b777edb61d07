"""The effect of a migration on a running application, through its own engine.

Its connection has prepared its statements for every table; a prepared statement whose result types
have changed fails once in asyncpg.
"""

import asyncio
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Self

from sqlalchemy import Executable, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from models import Base
from models.database import make_engine
from tests.support.factories import MINIMAL_ROWS
from verification.observation import FLUSH
from verification.rows import FIRST_KEY

NO_EFFECT = "nothing"
ONCE = "fails once"
ALWAYS = "errors until deployed"
ATTEMPTS = 3


class Application:
    """An application with one connection, which stays open while the database is migrated."""

    def __init__(self, url: str, without: Collection[str] = ()) -> None:
        """Take the URL, and the tables and columns that the application does not use."""
        self._runner = asyncio.Runner()
        self._engine = make_engine(url, pool_size=1, max_overflow=0)
        self._statements = list(statements(without))

    def __enter__(self) -> Self:
        """Prepare all statements."""
        assert self.outcome() == NO_EFFECT
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._runner.run(self._engine.dispose())
        self._runner.close()

    def outcome(self) -> str:
        """Return the outcome of its statements now: the worst of them."""
        return self._runner.run(self._outcome())

    async def _outcome(self) -> str:
        failures = [await self._failures(statement) for statement in self._statements]
        async with self._engine.connect() as connection:
            # So that its reads are not attributed to the migration.
            await connection.execute(text(FLUSH))
        worst = max(failures)
        return ALWAYS if worst == ATTEMPTS else ONCE if worst else NO_EFFECT

    async def _failures(self, statement: Executable) -> int:
        """Count how often a statement fails before it succeeds."""
        for attempt in range(ATTEMPTS):
            async with self._engine.connect() as connection:
                try:
                    await connection.execute(statement)
                except DBAPIError:
                    continue
                else:
                    return attempt
                finally:
                    await connection.rollback()
        return ATTEMPTS


def statements(without: Collection[str]) -> Iterator[Executable]:
    """Yield the application's statements for each table: SELECT, UPDATE and INSERT."""
    for table in Base.metadata.sorted_tables:
        if table.name in without:
            continue
        columns = [c for c in table.columns if f"{table.name}.{c.name}" not in without]
        (key,) = table.primary_key.columns
        yield select(*columns).where(key == FIRST_KEY)
        yield update(table).where(key == FIRST_KEY).values({c: c for c in columns if c is not key})
        if table.name != "bot_states":  # Every bot has its row already.
            parents = dict.fromkeys(("user_id", "bot_config_id"), FIRST_KEY)
            # The column that a recipe makes NOT NULL is written.
            extra = parents | {"commission_asset": "BNB"}
            row = MINIMAL_ROWS[table.name] | {n: v for n, v in extra.items() if n in table.columns}
            written = {n: v for n, v in row.items() if f"{table.name}.{n}" not in without}
            yield insert(table).values(written).returning(key)
