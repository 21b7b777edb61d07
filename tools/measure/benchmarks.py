"""The cost of queries and writes at each number of trades: the tables in ``docs/benchmarks.md``.

Runs that are compared are run in turn, so that other load on the machine affects all of them, and
their ratio is the median of the pairs.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable

from tools.markdown import table
from tools.measure import writes
from tools.measure.data import PROJECT, Filled, copied, vacuum
from verification import databases
from verification.query_plans import QueryPlan, explain

RUNS = 5
RELATIONS = text(
    "SELECT relname, pg_table_size(oid) / 1e6::float FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
    " AND pg_table_size(oid) > 50000"
)
Rows = list[list[str]]


def tables(sizes: Iterable[Filled]) -> Iterator[str]:
    """Measure databases with numbers of trades, the smallest first, and yield the tables."""
    costs: defaultdict[str, defaultdict[str, list[QueryPlan | None]]]
    costs = defaultdict(lambda: defaultdict(list))
    megabytes: defaultdict[str, dict[str, float]] = defaultdict(dict)
    inserts, calls, upgrades, transactions = Rows(), Rows(), Rows(), Rows()
    for trades, url, statements in sizes:
        number = f"{trades / 1e6:g} M"
        with copied(url) as initial, copied(url) as head:
            start = time.perf_counter()
            PROJECT.migrate(head)
            upgrades.append([number, f"{time.perf_counter() - start:.1f}"])
            for revision, database in {"initial": initial, "head": head}.items():
                vacuum(database)
                with databases.sync_engine(database).connect() as connection:
                    for name, size in connection.execute(RELATIONS):
                        megabytes[name][revision] = size
                    for name, statement in statements.items():
                        costs[name][revision].append(cost(connection, statement))
            transactions += ([number, *row] for row in asyncio.run(writes.over_driver(head)))
            # Before the inserts, of which no bot could have made so many.
            calls += ([number, *row] for row in writes.in_one_call(head))
            inserts += ([number, *row] for row in writes.inserts(initial, head))
    numbers, last = [number for number, _ in upgrades], number
    queries = sorted(costs.items(), key=lambda item: int(item[0].partition(" ")[0]))
    pages = " | ".join(
        f"{revision} {heading}:"
        for revision in ("initial", "head")
        for heading in (*numbers, "growth", f"{last}, ms")
    )
    sections: dict[str, Iterable[str]] = {
        "Pages read by each query": table(
            f"query | rows: | {pages}",
            (
                [name, _rows(at["head"]), *_pages(at["initial"]), *_pages(at["head"])]
                for name, at in queries
            ),
        ),
        f"Plans at {last} trades": table(
            "query | initial | head",
            ([name, _plan(at["initial"]), _plan(at["head"])] for name, at in queries),
        ),
        "Inserts": table(
            "trades before | how | initial, rows/s: | head, rows/s: | head / initial:", inserts
        ),
        "In one call": table(
            "trades before | what | one by one, rows/s: | in one call, rows/s: | ratio:", calls
        ),
        f"Sizes in MB at {last} trades": table(
            "table or index | initial: | head:",
            (
                [name, *(f"{at[r]:,.1f}" if r in at else "" for r in ("initial", "head"))]
                for name, at in sorted(megabytes.items(), key=lambda item: -max(item[1].values()))
            ),
        ),
        "Upgrade from initial to head": table("trades: | seconds:", upgrades),
        "Milliseconds of a transaction over the raw driver": table(
            "trades | transaction | asyncpg: | models.queries: | ratio:", transactions
        ),
    }
    for title, section in sections.items():
        yield from ("", f"### {title}", "", *section)


def cost(connection: Connection, statement: Executable) -> QueryPlan | None:
    """Return a plan with its median milliseconds; None if the statement needs a later revision."""
    try:
        explain(connection, statement)  # to read the catalogue and the pages into memory
    except DBAPIError:
        connection.rollback()
        return None
    plans = [explain(connection, statement) for _ in range(RUNS)]
    connection.rollback()
    return replace(plans[0], milliseconds=median(plan.milliseconds for plan in plans))


def _rows(plans: Sequence[QueryPlan | None]) -> str:
    return " / ".join(dict.fromkeys(f"{plan.rows:,}" for plan in plans if plan))


def _pages(plans: Sequence[QueryPlan | None]) -> Iterator[str]:
    """Yield the pages at each size, their growth, and the last milliseconds."""
    first, last = plans[0], plans[-1]
    yield from (f"{plan.buffers:,}" if plan else "" for plan in plans)
    yield f"{last.buffers / first.buffers:.1f}" if first and last else ""
    yield f"{last.milliseconds:.1f}" if last else ""


def _plan(plans: Sequence[QueryPlan | None]) -> str:
    return " ← ".join(plans[-1].steps) if plans[-1] else ""
