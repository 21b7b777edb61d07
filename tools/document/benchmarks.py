"""The tables in ``docs/benchmarks.md``, from the last measurement: ``docs/benchmarks.json``.

``tox -e benchmark`` measures, and writes the JSON (``benchmarks/report.py``).
"""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from tools.document import Document, Texts, read, updated

NAME = "benchmarks"
RESULTS = "docs/benchmarks.json"
REVISIONS = ("initial", "head")
Results = dict[str, Any]


def content(results: Results) -> str:
    """Return the generated part of the page."""
    parts = [
        *section("Pages read by each query", pages(results)),
        "![Pages read against trades](benchmarks.svg)\n",
        *section("Plans at the larger size", plans(results)),
        *section("Inserts", inserts(results)),
        *section("Imports", imports(results)),
        *section("Ticks", ticks(results)),
        *(section("Rounds of 500 ticks", rounds(results)) if "rounds" in results else ()),
        *section("Sizes at the larger size", storage(results)),
        *section("Cost over the raw driver", transactions(results)),
    ]
    return "\n" + "".join(parts).strip("\n") + "\n\n"


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a heading and the lines of a table."""
    yield f"\n### {title}\n\n"
    for line in lines:
        yield line + "\n"
    yield "\n"


def pages(results: Results) -> Iterator[str]:
    """Yield a line for each query: rows, pages and latency, at both sizes and revisions."""
    first, last = (million(results["trades"][n]) for n in (0, -1))
    yield (
        f"| query | rows | initial {first} | initial {last} | growth | head {first} | head {last}"
        f" | growth | ms initial {last} | ms head {last} |"
    )
    yield "|---|" + "---:|" * 9
    for name, query in results["queries"].items():
        fewest, most = query["rows"][0], query["rows"][-1]
        cells = [name, f"{fewest:,}" if fewest == most else f"{fewest:,} / {most:,}"]
        for revision in REVISIONS:
            small, large = query[revision]["pages"][0], query[revision]["pages"][-1]
            cells += [f"{small:,}", f"{large:,}", f"{large / small:.1f}"]
        cells += [f"{query[revision]['milliseconds']:.1f}" for revision in REVISIONS]
        yield f"| {' | '.join(cells)} |"


def plans(results: Results) -> Iterator[str]:
    """Yield a line for each query: the steps of its plan with each revision."""
    yield "| query | initial | head |"
    yield "|---|---|---|"
    for name, query in results["queries"].items():
        cells = [query[revision]["plan"] for revision in REVISIONS]
        yield f"| {name} | {' | '.join(cells)} |"


def inserts(results: Results) -> Iterator[str]:
    """Yield a line for each way to insert, at each size: throughput with each revision."""
    yield "| how | trades before | initial, rows/s | head, rows/s | head / initial |"
    yield "|---|---:|---:|---:|---:|"
    for insert in results["inserts"]:
        speeds = " | ".join(f"{insert[revision]:,.0f}" for revision in REVISIONS)
        trades = million(insert["trades"])
        yield f"| {insert['how']} | {trades} | {speeds} | {insert['head / initial']:.0%} |"


def imports(results: Results) -> Iterator[str]:
    """Yield a line for each size: throughput report by report, and in bulk."""
    yield "| trades before | `record_trade`, rows/s | `record_trades`, rows/s | ratio |"
    yield "|---:|---:|---:|---:|"
    for run in results["imports"]:
        speeds = " | ".join(f"{run[how]:,.0f}" for how in ("record_trade", "record_trades"))
        yield f"| {million(run['trades'])} | {speeds} | {run['ratio']:.1f} |"


def ticks(results: Results) -> Iterator[str]:
    """Yield a line for each run of ticks: the share of them that wrote to no index."""
    yield "| ticks | trades | revision | heap-only |"
    yield "|---|---:|---|---:|"
    for run in results["ticks"]:
        trades = million(run["trades"])
        yield f"| {run['beside']} | {trades} | {run['revision']} | {run['heap-only']:.1%} |"


def rounds(results: Results) -> Iterator[str]:
    """Yield a line for each size: ticks per second one by one, and all in one statement."""
    yield "| trades | `tick`, bots/s | `ticks`, bots/s | ratio |"
    yield "|---:|---:|---:|---:|"
    for run in results["rounds"]:
        speeds = " | ".join(f"{run[how]:,.0f}" for how in ("tick", "ticks"))
        yield f"| {million(run['trades'])} | {speeds} | {run['ratio']:.1f} |"


def storage(results: Results) -> Iterator[str]:
    """Yield a line for each table and index."""
    yield "| | initial, MB | head, MB |"
    yield "|---|---:|---:|"
    for name, sizes in results["megabytes"].items():
        before = f"{sizes['initial']:,.1f}" if "initial" in sizes else ""
        yield f"| {name} | {before} | {sizes['head']:,.1f} |"
    times = zip(results["trades"], results["upgrade seconds"], strict=True)
    seconds = ", ".join(f"{million(trades)}: {time:.1f} s" for trades, time in times)
    yield f"\nThe upgrade from initial to head took, by number of trades, {seconds}."


def transactions(results: Results) -> Iterator[str]:
    """Yield a line for each transaction: its time through asyncpg, and what each layer adds."""
    yield (
        "| ms | asyncpg | engine | statement | session | ping | all | all / asyncpg"
        " | all, with the dialect's ping |"
    )
    yield "|---|" + "---:|" * 8
    for name, times in results["layers"].items():
        *layers, with_dialects_ping, ratio = times.values()
        added = [f"{after - before:+.2f}" for before, after in pairwise(layers)]
        first, whole, other = (f"{ms:.2f}" for ms in (layers[0], layers[-1], with_dialects_ping))
        cells = [first, *added, whole, f"{ratio:.1f}", other]
        yield f"| {name} | {' | '.join(cells)} |"


def million(trades: int) -> str:
    """Abbreviate a number of trades."""
    return f"{trades / 1e6:g} M"


def texts() -> Texts:
    """Return the page of the last measurement.

    Raises:
        ValueError: The page lacks the marks.
    """
    return {"docs/benchmarks.md": updated("docs/benchmarks.md", NAME, content(results()))}


def results() -> Results:
    """Return the last measurement."""
    results: Results = json.loads(read(RESULTS))
    return results


DOCUMENT = Document(NAME, texts)
