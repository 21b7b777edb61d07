"""Write what the benchmarks measured into docs/benchmarks.md, and draw it.

python -m benchmarks.report .benchmarks/latest.json
"""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.conftest import REVISIONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Found = dict[tuple[int, str], dict[str, Any]]


def main() -> None:
    """Read pytest-benchmark's JSON, replace the measured part of the page, save the plot."""
    measured = json.loads(Path(sys.argv[1]).read_text())["benchmarks"]
    queries: dict[str, Found] = defaultdict(dict)
    sizes: Found = {}
    inserts: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    ticks: list[tuple[str, str, int, float]] = []
    for result in measured:
        test, params, info = (
            result["name"].partition("[")[0],
            result["params"],
            result["extra_info"],
        )
        trades = params["trades"]
        if test == "test_insert":
            inserts[params["how"]][trades] = info
            continue
        revision = params["stage"]
        if test == "test_query":
            info["milliseconds"] = result["stats"]["median"] * 1000
            queries[params["name"]][trades, revision] = info
        elif test == "test_sizes":
            sizes[trades, revision] = info
        else:
            beside = "beside a snapshot" if params["snapshot"] else "alone"
            ticks.append((beside, revision, trades, info["heap_only"] / info["ticks"]))
    names = sorted(queries, key=lambda name: (int(name.split()[0]), name))
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    parts = [
        *section("Pages read by each query", pages(names, queries)),
        "![Pages read against trades](benchmarks.svg)\n",
        *section("Plans at the larger size", plans(names, queries)),
        *section("Inserts", insert_table(inserts)),
        *section("Ticks", tick_table(ticks)),
        *section("Sizes at the larger size", size_table(sizes)),
    ]
    page.write_text(f"{before}{BEGIN}\n\n{''.join(parts)}\n{END}{rest.partition(END)[2]}")
    plot(names, queries)


def section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield a heading and the lines of a table."""
    yield f"\n### {title}\n\n"
    for line in lines:
        yield line + "\n"
    yield "\n"


def pages(names: list[str], queries: dict[str, Found]) -> Iterator[str]:
    """Yield a line a query: rows, pages and latency, at both sizes and revisions."""
    first, last = min(next(iter(queries.values())))[0], max(next(iter(queries.values())))[0]
    short = {first: million(first), last: million(last)}
    yield (
        f"| query | rows | initial {short[first]} | initial {short[last]} | growth | head"
        f" {short[first]} | head {short[last]} | growth | ms initial {short[last]} | ms head"
        f" {short[last]} |"
    )
    yield "|---|" + "---:|" * 9
    for name in names:
        found = queries[name]
        cells = [name, rows(found[first, "head"]["rows"], found[last, "head"]["rows"])]
        for revision in REVISIONS:
            small, large = found[first, revision]["pages"], found[last, revision]["pages"]
            cells += [f"{small:,}", f"{large:,}", f"{large / small:.1f}"]
        cells += [f"{found[last, revision]['milliseconds']:.1f}" for revision in REVISIONS]
        yield f"| {' | '.join(cells)} |"


def rows(small: int, large: int) -> str:
    """Tell the number of rows, which may differ between the sizes."""
    return f"{small:,}" if small == large else f"{small:,} / {large:,}"


def plans(names: list[str], queries: dict[str, Found]) -> Iterator[str]:
    """Yield a line a query: the steps of its plan with each revision."""
    last = max(next(iter(queries.values())))[0]
    yield "| query | initial | head |"
    yield "|---|---|---|"
    for name in names:
        cells = [" ← ".join(queries[name][last, revision]["steps"]) for revision in REVISIONS]
        yield f"| {name} | {' | '.join(cells)} |"


def insert_table(inserts: dict[str, dict[int, dict[str, Any]]]) -> Iterator[str]:
    """Yield a line for each way to insert, at each size: throughput with each revision."""
    yield "| how | trades before | initial, rows/s | head, rows/s | head / initial |"
    yield "|---|---:|---:|---:|---:|"
    for how, by_trades in inserts.items():
        for trades, info in sorted(by_trades.items()):
            initial, head = (info["seconds"][revision] for revision in REVISIONS)
            share = statistics.median(a / b for a, b in zip(initial, head, strict=True))
            speeds = [info["inserts"] / statistics.median(times) for times in (initial, head)]
            yield (
                f"| {how} | {million(trades)} | {speeds[0]:,.0f} | {speeds[1]:,.0f}"
                f" | {share:.0%} |"
            )


def tick_table(ticks: list[tuple[str, str, int, float]]) -> Iterator[str]:
    """Yield a line for each run of ticks: how many wrote to no index."""
    yield "| ticks | trades | revision | heap-only |"
    yield "|---|---:|---|---:|"
    for beside, revision, trades, share in sorted(ticks):
        yield f"| {beside} | {million(trades)} | {revision} | {share:.1%} |"


def size_table(sizes: Found) -> Iterator[str]:
    """Yield a line for each table and index."""
    last = max(sizes)[0]
    yield "| | initial, MB | head, MB |"
    yield "|---|---:|---:|"
    initial, head = (sizes[last, revision]["sizes"] for revision in REVISIONS)
    for name in sorted(head, key=head.__getitem__, reverse=True):
        before = f"{initial[name] / 1e6:,.1f}" if name in initial else ""
        yield f"| {name} | {before} | {head[name] / 1e6:,.1f} |"
    seconds = ", ".join(
        f"{million(trades)}: {info['upgrade_seconds']:.1f} s"
        for (trades, revision), info in sorted(sizes.items())
        if revision == "head"
    )
    yield f"\nThe upgrade from initial to head took, by number of trades, {seconds}."


def million(trades: int) -> str:
    """Abbreviate a number of trades."""
    return f"{trades / 1e6:g} M"


def plot(names: list[str], queries: dict[str, Found]) -> None:
    """Draw pages against trades, a panel a query."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trading-bot-schema"
    from matplotlib import pyplot

    shown = [name for name in names if name[0] in "234579" and name[1] == " "]
    figure, panels = pyplot.subplots(
        4, -(-len(shown) // 4), figsize=(11, 10), sharey=True, layout="constrained"
    )
    styles = {"initial": ("#c0392b", "o", "--"), "head": ("#1f6fb2", "s", "-")}
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, shown, strict=False):
        for revision, (color, marker, line) in styles.items():
            points = sorted(
                (t, i["pages"]) for (t, r), i in queries[name].items() if r == revision
            )
            panel.loglog(
                *zip(*points, strict=True),
                color=color,
                marker=marker,
                linestyle=line,
                label=f"{revision} revision",
            )
        panel.set_title(name, fontsize=9)
        panel.set_xticks([t for t, _ in points], [million(t) for t, _ in points])
        panel.minorticks_off()
        panel.margins(x=0.25)
        panel.grid(alpha=0.3)
    figure.supxlabel("trades in the table")
    figure.supylabel("pages of 8 kB read")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    figure.savefig(DOCS / "benchmarks.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
