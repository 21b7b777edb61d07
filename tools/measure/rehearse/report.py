"""The results of rehearsals: tables and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.measure.rehearse.canaries import HOT, READ, TABLES, WRITE
from tools.measure.rehearse.rehearsal import Form, Rehearsal, Step, percentiles

BEGIN, END = "<!-- Measured by: tox -e rehearse -->", "<!-- End -->"
BUCKET_SECONDS, BUCKETS = 0.2, 200
"""Minimum duration of one point of a picture, and maximum number of points of a line."""
NOTICEABLE_SECONDS = 0.05
"""Minimum duration of a statement to be highlighted."""
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#d62728")


def longest(rehearsal: Rehearsal, access: str) -> tuple[float, str]:
    """Return the longest wait of the reads, or writes, for a lock, and on which table."""
    waits = [
        (step.blocked.get(f"{access} {table}", 0.0), table)
        for step in rehearsal.steps
        for table in TABLES
    ]
    return max(waits, default=(0.0, ""))


def steps(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield a table of the revisions, line by line."""
    yield (
        "| revision | seconds | read blocked | write blocked | failed | hot queries before, ms"
        " | during | after | WAL | disk | standby behind |"
    )
    yield "|---|" + "---:|" * 10
    for step in rehearsal.steps:
        cells = [
            f"`{step.name}` {step.title}" + (f" **{step.error}**" if step.error else ""),
            f"{step.end - step.start:.2f}",
            *(_blocked(step, access) for access in (READ, WRITE)),
            f"{rehearsal.failures(step)}",
            *(
                " / ".join(f"{1000 * value:.0f}" for value in percentiles(phase(step, HOT)))
                for phase in (rehearsal.before, rehearsal.during, rehearsal.after)
            ),
            f"{step.wal_bytes / 2**20:.0f} MB",
            f"{step.disk_bytes / 2**20:.0f} MB",
            "" if step.lag is None else f"{step.lag:.1f} s",
        ]
        yield f"| {' | '.join(cells)} |"


def tables(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield a table of the longest waits of each table's reads and writes, line by line."""
    yield "| revision | | " + " | ".join(TABLES) + " |"
    yield "|---|---|" + "---:|" * len(TABLES)
    for step in rehearsal.steps:
        for access, verb in ((READ, "read"), (WRITE, "write")):
            cells = [_wait_and_latency(rehearsal, step, f"{access} {table}") for table in TABLES]
            yield f"| `{step.name}` | {verb} | {' | '.join(cells)} |"


def _wait_and_latency(rehearsal: Rehearsal, step: Step, canary: str) -> str:
    """Show the longest wait for a lock, and the slowest run before and during."""
    waited = step.blocked.get(canary, 0)
    before, during = (
        max(phase(step, canary), default=0) for phase in (rehearsal.before, rehearsal.during)
    )
    return f"{1000 * waited:.0f} ({1000 * before:.0f} → {1000 * during:.0f})"


def _blocked(step: Step, access: str) -> str:
    seconds, table = max((step.blocked.get(f"{access} {table}", 0), table) for table in TABLES)
    return f"{1000 * seconds:.0f} ms, {table}" if seconds else "0 ms"


def forms(measured: Sequence[Form]) -> Iterator[str]:
    """Yield a table of dangerous and safe forms, line by line."""
    yield (
        "| to | dangerous: seconds | read blocked | write blocked | failed"
        " | safe: seconds | read blocked | write blocked | failed |"
    )
    yield "|---|" + "---:|" * 8
    for title, *pair in measured:
        cells = [cell for rehearsal in pair for cell in _form(rehearsal)]
        yield f"| {title} | {' | '.join(cells)} |"


def _form(rehearsal: Rehearsal | None) -> list[str]:
    if rehearsal is None:
        return ["", "", "", ""]
    blocked = [f"{1000 * longest(rehearsal, access)[0]:.0f} ms" for access in (READ, WRITE)]
    return [
        f"{sum(step.end - step.start for step in rehearsal.steps):.2f}",
        *blocked,
        f"{sum(map(rehearsal.failures, rehearsal.steps))}",
    ]


def draw(rehearsal: Rehearsal, path: Path) -> None:
    """Draw latency over time, a line for each table, the revisions' statements shaded."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(2, 1, figsize=(11, 6), sharex=True, layout="constrained")
    for panel, access in zip(panels, (READ, WRITE), strict=True):
        _shade(panel, rehearsal)
        for table, colour in zip(TABLES, COLOURS, strict=True):
            times, values = _buckets(rehearsal, [f"{access} {table}"])
            panel.plot(times, values, color=colour, linewidth=1, label=table)
        panel.set_yscale("log")
        panel.set_ylabel(f"{access.split()[0]}s, ms")
        panel.grid(alpha=0.3)
    for step in rehearsal.steps:
        panels[0].annotate(
            step.name,
            (step.start, 1),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            va="bottom",
        )
    figure.supxlabel("seconds")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(TABLES))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_forms(measured: Sequence[Form], path: Path) -> None:
    """Draw the slowest read and write over time, each dangerous form next to the safe one."""
    pyplot = _pyplot()
    shown = [form for form in measured if form[1] is not None]
    figure, panels = pyplot.subplots(
        len(shown), 2, figsize=(11, 1.9 * len(shown)), sharey=True, layout="constrained"
    )
    for row, (title, *pair) in zip(panels, shown, strict=True):
        for panel, rehearsal, form in zip(row, pair, ("dangerous", "safe"), strict=True):
            panel.set_title(f"{title}: {form}", fontsize=9)
            panel.set_yscale("log")
            panel.grid(alpha=0.3)
            if rehearsal is None:
                continue
            _shade(panel, rehearsal)
            for access, colour in ((READ, COLOURS[0]), (WRITE, COLOURS[-1])):
                times, values = _buckets(rehearsal, [f"{access} {table}" for table in TABLES])
                panel.plot(times, values, color=colour, linewidth=1, label=f"{access.split()[0]}s")
    figure.supxlabel("seconds")
    figure.supylabel("slowest, ms")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _shade(panel: Any, rehearsal: Rehearsal) -> None:
    for step in rehearsal.steps:
        panel.axvspan(step.start, step.end, color="#000000", alpha=0.06, linewidth=0)
        for statement in step.statements:
            if statement.end - statement.start >= NOTICEABLE_SECONDS:
                span = (statement.start, statement.end)
                panel.axvspan(*span, color="#c0392b", alpha=0.12, linewidth=0)


def _buckets(rehearsal: Rehearsal, names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return times, and the slowest run of some canaries at each, in milliseconds."""
    last = max((due for name in names for due, *_ in rehearsal.samples.get(name, ())), default=0)
    width = max(BUCKET_SECONDS, last / BUCKETS)
    slowest: dict[int, float] = {}
    for name in names:
        for due, seconds, _ in rehearsal.samples.get(name, ()):
            bucket = int(due / width)
            slowest[bucket] = max(slowest.get(bucket, 0), seconds)
    buckets = sorted(slowest)
    return (
        [bucket * width for bucket in buckets],
        [1000 * slowest[bucket] for bucket in buckets],
    )


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trading-bot-schema"
    from matplotlib import pyplot

    return pyplot


def title(trades: int) -> str:
    """Return the heading of the measurements at a number of trades."""
    return f"### At {trades:,} trades"


def write(page: Path, rehearsals: Mapping[int, Rehearsal], measured: Sequence[Form]) -> None:
    """Write the measured part of a page, and its pictures."""
    parts = []
    for trades, rehearsal in rehearsals.items():
        picture = page.with_name(f"{page.stem}-{trades}.svg")
        draw(rehearsal, picture)
        parts += [
            title(trades),
            "\n".join(steps(rehearsal)),
            "\n".join(tables(rehearsal)),
            f"![Latency while the revisions run]({picture.name})",
        ]
    if measured:
        picture = page.with_name(f"{page.stem}-forms.svg")
        draw_forms(measured, picture)
        parts += [
            f"### Dangerous and safe forms, at {min(rehearsals):,} trades",
            "\n".join(forms(measured)),
            f"![Latency while each form runs]({picture.name})",
        ]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    text = "\n\n".join([f"{before}{BEGIN}", *parts, f"{END}{rest.partition(END)[2]}"])
    page.write_text(text, encoding="utf-8")
