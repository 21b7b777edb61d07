"""The tables in ``docs/benchmarks.md``, from the last measurement: ``docs/benchmarks.json``."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from tools.markdown import read, table

RESULTS = "docs/benchmarks.json"
REVISIONS = ("initial", "head")
Row = Mapping[str, Any]


def lines() -> Iterator[str]:
    """Yield the lines of the page's generated part."""
    results: Mapping[str, Any] = json.loads(read(RESULTS))
    first, last = (million(results["trades"][end]) for end in (0, -1))
    queries: Mapping[str, Row] = results["queries"]
    sizes = sorted(results["megabytes"].items(), key=lambda item: -max(item[1].values()))
    sections: dict[str, Iterable[str]] = {
        "Pages read by each query": table(
            f"query | rows: | initial {first}: | initial {last}: | growth: | head {first}:"
            f" | head {last}: | growth: | ms initial {last}: | ms head {last}:",
            ([name, *_costs(query)] for name, query in queries.items()),
        ),
        f"Plans at {last} trades": table(
            "query | initial | head",
            ([name, *_by_revision(query, "plan")] for name, query in queries.items()),
        ),
        "Inserts": table(
            "how | trades before: | initial, rows/s: | head, rows/s: | head / initial:",
            (
                [
                    run["how"],
                    million(run["trades"]),
                    *_speeds(run, *REVISIONS),
                    f"{run['ratio']:.0%}",
                ]
                for run in results["inserts"]
            ),
        ),
        "Imports": table(
            "trades before: | `record_trade`, rows/s: | `record_trades`, rows/s: | ratio:",
            (
                [
                    million(run["trades"]),
                    *_speeds(run, "record_trade", "record_trades"),
                    f"{run['ratio']:.1f}",
                ]
                for run in results["imports"]
            ),
        ),
        "Ticks": table(
            "ticks | trades: | revision | heap-only:",
            (
                [run["beside"], million(run["trades"]), run["revision"], f"{run['heap-only']:.1%}"]
                for run in results["ticks"]
            ),
        ),
        f"Sizes in MB at {last} trades": table(
            "table or index | initial: | head:",
            (
                [name, *(f"{size[r]:,.1f}" if r in size else "" for r in REVISIONS)]
                for name, size in sizes
            ),
        ),
        "Upgrade from initial to head": table(
            "trades: | seconds:",
            zip(
                map(million, results["trades"]), map(str, results["upgrade seconds"]), strict=True
            ),
        ),
        f"Milliseconds over the raw driver, at {first} trades": table(
            "transaction | asyncpg: | engine: | session: | ping: | all: | all / asyncpg:",
            ([name, *_layers(times)] for name, times in results["layers"].items()),
        ),
        "Commands": table(
            "command | ms:",
            ([f"`{command}`", f"{ms}"] for command, ms in results["commands"].items()),
        ),
    }
    for title, section in sections.items():
        yield from ("", f"### {title}", "", *section)
    yield ""


def _costs(query: Row) -> Iterator[str]:
    """Yield rows, pages at the sizes, their growth, and milliseconds; empty if it did not run."""
    rows = query["head"]["rows"]
    yield " / ".join(dict.fromkeys(f"{number:,}" for number in (rows[0], rows[-1])))
    for revision in REVISIONS:
        pages = query.get(revision, {}).get("pages")
        yield from (
            [f"{pages[0]:,}", f"{pages[-1]:,}", f"{pages[-1] / pages[0]:.1f}"]
            if pages
            else [""] * 3
        )
    yield from _by_revision(query, "milliseconds")


def _by_revision(query: Row, name: str) -> list[str]:
    return [str(query.get(revision, {}).get(name, "")) for revision in REVISIONS]


def _speeds(run: Row, *ways: str) -> list[str]:
    return [f"{run[way]:,}" for way in ways]


def _layers(times: Mapping[str, float]) -> Iterator[str]:
    """Yield the time through asyncpg, what each layer adds, and all."""
    *layers, ratio = times.values()
    yield f"{layers[0]:.2f}"
    yield from (f"{after - before:+.2f}" for before, after in pairwise(layers))
    yield f"{layers[-1]:.2f}"
    yield f"{ratio:.1f}"


def million(trades: int) -> str:
    """Abbreviate a number of trades."""
    return f"{trades / 1e6:g} M"
