"""Record what the benchmarks measured, and plot it: docs/benchmarks.json and docs/benchmarks.svg.

python -m tools.measure.report .benchmarks/latest.json

``python -m tools.document`` writes the tables of docs/benchmarks.md from it.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tools import ROOT
from tools.document.benchmarks import RESULTS, REVISIONS, million


def main() -> None:
    """Read pytest-benchmark's JSON, save the results and the plot."""
    results = summary(json.loads(Path(sys.argv[1]).read_text())["benchmarks"])
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (ROOT / RESULTS).write_text(f"{text}\n", encoding="utf-8")
    plot(results)


def summary(benchmarks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the tables and the plot show."""
    queries: dict[str, dict[tuple[int, str], dict[str, Any]]] = defaultdict(dict)
    sizes: dict[tuple[int, str], dict[str, Any]] = {}
    inserts: list[dict[str, Any]] = []
    imports: list[dict[str, Any]] = []
    rounds: list[dict[str, Any]] = []
    ticks: list[dict[str, Any]] = []
    layers: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(dict)
    for benchmark in benchmarks:
        test, _, _ = benchmark["name"].partition("[")
        parameters, info = benchmark["params"], benchmark["extra_info"]
        trades = parameters["trades"]
        if test == "test_insert":
            speeds = throughput(info, "head / initial")
            inserts.append({"how": parameters["how"], "trades": trades, **speeds})
        elif test == "test_import":
            imports.append({"trades": trades, **throughput(info, "ratio")})
        elif test == "test_round_of_ticks":
            rounds.append({"trades": trades, **throughput(info, "ratio")})
        elif test == "test_query":
            info["milliseconds"] = benchmark["stats"]["median"] * 1000
            queries[parameters["name"]][trades, parameters["stage"]] = info
        elif test == "test_sizes":
            sizes[trades, parameters["stage"]] = info
        elif test == "test_layers":
            layers[parameters["transaction"]][trades] = info["seconds"]
        else:
            ticks.append(
                {
                    "beside": "beside a snapshot" if parameters["snapshot"] else "alone",
                    "revision": parameters["stage"],
                    "trades": trades,
                    "heap-only": round(info["heap_only"] / info["ticks"], 4),
                }
            )
    all_trades = sorted({trades for trades, _ in sizes})
    first, last = all_trades[0], all_trades[-1]
    methods = [*dict.fromkeys(insert["how"] for insert in inserts)]
    megabytes: dict[str, dict[str, float]] = defaultdict(dict)
    for revision in REVISIONS:
        for name, size in sizes[last, revision]["sizes"].items():
            megabytes[name][revision] = round(size / 1e6, 1)
    return {
        "trades": all_trades,
        "queries": {
            name: {
                "rows": [queries[name][trades, "head"]["rows"] for trades in all_trades],
                **{
                    revision: {
                        "pages": [
                            queries[name][trades, revision]["pages"] for trades in all_trades
                        ],
                        "milliseconds": round(queries[name][last, revision]["milliseconds"], 1),
                        "plan": " ← ".join(queries[name][last, revision]["steps"]),
                    }
                    for revision in REVISIONS
                },
            }
            for name in sorted(queries, key=lambda name: (int(name.split()[0]), name))
        },
        "inserts": sorted(
            inserts, key=lambda insert: (methods.index(insert["how"]), insert["trades"])
        ),
        "imports": sorted(imports, key=lambda run: run["trades"]),
        "rounds": sorted(rounds, key=lambda run: run["trades"]),
        "ticks": sorted(ticks, key=lambda run: (run["beside"], run["revision"], run["trades"])),
        "megabytes": dict(
            sorted(megabytes.items(), key=lambda item: item[1].get("head", 0), reverse=True)
        ),
        "layers": {name: transaction(by_trades[first]) for name, by_trades in layers.items()},
        "upgrade seconds": [
            round(sizes[trades, "head"]["upgrade_seconds"], 1) for trades in all_trades
        ],
    }


def throughput(info: dict[str, Any], ratio: str) -> dict[str, float]:
    """Return the rows inserted per second in each of two ways, and the median of their ratios."""
    seconds = info["seconds"]
    speeds = {how: round(info["inserts"] / statistics.median(seconds[how])) for how in seconds}
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    return {**speeds, ratio: round(statistics.median(ratios), 2)}


def transaction(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the milliseconds of each layer, and how many times asyncpg's the whole takes."""
    ratios = [a / b for a, b in zip(seconds["ping"], seconds["asyncpg"], strict=True)]
    times = {layer: round(1000 * statistics.median(runs), 2) for layer, runs in seconds.items()}
    return {**times, "ratio": round(statistics.median(ratios), 1)}


def plot(results: dict[str, Any]) -> None:
    """Draw pages against trades, a panel for each query."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trading-bot-schema"
    from matplotlib import pyplot

    trades = results["trades"]
    shown = [name for name in results["queries"] if name[0] in "234579" and name[1] == " "]
    figure, panels = pyplot.subplots(
        4, -(-len(shown) // 4), figsize=(11, 10), sharey=True, layout="constrained"
    )
    styles = {"initial": ("#c0392b", "o", "--"), "head": ("#1f6fb2", "s", "-")}
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, shown, strict=False):
        for revision, (color, marker, line) in styles.items():
            panel.loglog(
                trades,
                results["queries"][name][revision]["pages"],
                color=color,
                marker=marker,
                linestyle=line,
                label=f"{revision} revision",
            )
        panel.set_title(name, fontsize=9)
        panel.set_xticks(trades, [*map(million, trades)])
        panel.minorticks_off()
        panel.margins(x=0.25)
        panel.grid(alpha=0.3)
    figure.supxlabel("trades in the table")
    figure.supylabel("pages of 8 kB read")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    figure.savefig(ROOT / "docs" / "benchmarks.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
