"""The cost of queries, writes and commands, at each size: ``docs/benchmarks.json``.

Runs that are compared are run in turn, so that other load on the machine affects all of them, and
their ratio is the median of the pairs.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tools.measure import layers, writes
from tools.measure.data import PROJECT, Filled, HotQueries, copied, vacuum
from verification import databases
from verification.query_plans import explain

RESULTS = "docs/benchmarks.json"
RELATIONS = text(
    "SELECT relname, round(pg_table_size(oid) / 1e6, 1)::float FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
    " AND pg_table_size(oid) > 50000"
)
IMPORTS = (
    "import sqlalchemy.orm, sqlalchemy.dialects.postgresql",
    "import models",
    "import models.database",
)
ALEMBIC = (sys.executable, "-m", "alembic", "upgrade", "head")
COMMANDS = {
    **{f'python -c "{code}"': (sys.executable, "-c", code) for code in IMPORTS},
    "alembic upgrade head --sql": (*ALEMBIC, "--sql"),
    "alembic upgrade head, nothing to do": ALEMBIC,
}
COMMAND_RUNS = 11
Results = dict[str, Any]


def measure(sizes: Iterable[Filled]) -> Results:
    """Return the measurements of databases with numbers of trades, the smallest first."""
    results: Results = {"trades": [], "upgrade seconds": [], "queries": {}, "megabytes": {}}
    results |= {"inserts": [], "imports": [], "rounds": [], "ticks": []}
    for trades, url, statements in sizes:
        with copied(url) as initial, copied(url) as head:
            start = time.perf_counter()
            PROJECT.migrate(head)
            results["upgrade seconds"].append(round(time.perf_counter() - start, 1))
            results["trades"].append(trades)
            urls = {"initial": initial, "head": head}
            for revision in urls:
                vacuum(urls[revision])
                add_sizes(results["megabytes"], revision, urls[revision])
                add_costs(results["queries"], revision, urls[revision], statements)
            if "layers" not in results:
                results["layers"] = asyncio.run(layers.measure(head))
                results["commands"] = commands(head)
            results["inserts"] += [{"trades": trades} | row for row in writes.inserts(urls)]
            results["imports"].append({"trades": trades} | writes.imports(head))
            results["rounds"].append({"trades": trades} | writes.rounds(head))
            ticks = writes.heap_only_ticks(urls)
            results["ticks"] += [{"trades": trades} | row for row in ticks]
    return results


def add_costs(queries: Results, revision: str, url: str, statements: HotQueries) -> None:
    """Add the rows and pages of the statements that run at the revision.

    Plans and milliseconds are those of the last size.
    """
    with databases.sync_engine(url).connect() as connection:
        for name, statement in statements.items():
            try:
                explain(connection, statement)  # to read the catalogue and the pages into memory
            except DBAPIError:
                connection.rollback()
                continue
            plan = explain(connection, statement)
            connection.rollback()
            seconds = []
            for _ in range(max(3, min(30, int(2000 / plan.milliseconds)))):
                start = time.perf_counter()
                result = connection.execute(statement)
                if result.returns_rows:
                    result.all()
                connection.rollback()
                seconds.append(time.perf_counter() - start)
            query = queries.setdefault(name, {}).setdefault(revision, {"rows": [], "pages": []})
            query["rows"].append(plan.rows)
            query["pages"].append(plan.buffers)
            query["milliseconds"] = round(1000 * statistics.median(seconds), 1)
            query["plan"] = " ← ".join(plan.steps)


def add_sizes(megabytes: Results, revision: str, url: str) -> None:
    """Add the sizes of tables and indexes; they are those of the last size."""
    with databases.sync_engine(url).connect() as connection:
        for name, size in connection.execute(RELATIONS):
            megabytes.setdefault(name, {})[revision] = size


def commands(url: str) -> dict[str, float]:
    """Return the median milliseconds of commands, on a database at the head revision."""
    environment = os.environ | {"DATABASE_URL": url}
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(COMMAND_RUNS):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603
            seconds[name].append(time.perf_counter() - start)
    return {name: round(1000 * statistics.median(runs)) for name, runs in seconds.items()}


def dumped(results: Results) -> str:
    """Return JSON, with a line for each entry of each part."""

    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    parts = []
    for name, part in results.items():
        if isinstance(part, dict):
            entries = ",\n".join(f"{text(key)}: {text(value)}" for key, value in part.items())
            parts.append(f"{text(name)}: {{\n{entries}\n}}")
        else:
            entries = ",\n".join(map(text, part))
            parts.append(f"{text(name)}: [\n{entries}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"
