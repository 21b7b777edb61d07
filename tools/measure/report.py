"""The results of a rehearsal: tables and a picture."""

from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from tools.markdown import table
from tools.measure.rehearsal import Rehearsal, Step
from tools.measure.traffic import HOT, READ, WRITE

POINTS = 150
"""Maximum number of points of a line of the picture."""


def tables(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield the lines of two tables: the steps, and the waits of each table's reads and writes."""
    yield from table(
        "step | seconds: | read blocked: | write blocked: | failed: | hot queries before, ms:"
        " | during: | after: | WAL: | disk: | standby behind:",
        (_step(rehearsal, step) for step in rehearsal.steps),
    )
    yield ""
    names = _tables(rehearsal)
    yield from table(
        " | ".join(["step", "", *(f"{name}:" for name in names)]),
        (
            [f"{number}", access.split()[0], *(_wait(rehearsal, step, access, n) for n in names)]
            for number, step in enumerate(rehearsal.steps, 1)
            for access in (READ, WRITE)
        ),
    )


def _tables(rehearsal: Rehearsal) -> list[str]:
    return [name.removeprefix(f"{READ} ") for name in rehearsal.clients if name.startswith(READ)]


def _step(rehearsal: Rehearsal, step: Step) -> Iterator[str]:
    number = rehearsal.steps.index(step) + 1
    yield f"{number}. {step.title}" + (f" **{step.error}**" if step.error else "")
    yield f"{step.end - step.start:.2f}"
    for access in (READ, WRITE):
        waits = ((step.blocked.get(f"{access} {name}", 0), name) for name in _tables(rehearsal))
        seconds, name = max(waits, default=(0, ""))
        yield f"{1000 * seconds:.0f} ms, {name}" if seconds else "0 ms"
    yield f"{rehearsal.failures(step)}"
    for latencies in rehearsal.latencies(step, HOT):
        yield " / ".join(f"{1000 * seconds:.0f}" for seconds in _percentiles(latencies))
    yield f"{step.wal_bytes / 2**20:.0f} MB"
    yield f"{step.disk_bytes / 2**20:.0f} MB"
    yield "" if step.lag is None else f"{step.lag:.1f} s"


def _percentiles(seconds: list[float]) -> list[float]:
    """Return the median, the 99th percentile and the maximum."""
    cuts = quantiles([*seconds, *seconds] or [0, 0], n=100, method="inclusive")
    return [cuts[49], cuts[98], max(seconds, default=0)]


def _wait(rehearsal: Rehearsal, step: Step, access: str, name: str) -> str:
    """Return the longest wait for a lock, and the slowest run before and during, in ms."""
    client = f"{access} {name}"
    before, during, _ = (max(runs, default=0) for runs in rehearsal.latencies(step, client))
    waited = step.blocked.get(client, 0)
    return f"{1000 * waited:.0f} ({1000 * before:.0f} → {1000 * during:.0f})"


def draw(rehearsal: Rehearsal, path: Path) -> None:
    """Draw latency over time, a line for each table, the steps shaded."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 1, figsize=(11, 6), sharex=True, layout="constrained")
    start = rehearsal.steps[0].start - rehearsal.settle
    for panel, access in zip(panels, (READ, WRITE), strict=True):
        for step in rehearsal.steps:
            panel.axvspan(step.start - start, step.end - start, color="black", alpha=0.06, lw=0)
        for name in _tables(rehearsal):
            times, values = _slowest(rehearsal, f"{access} {name}", start)
            panel.plot(times, values, linewidth=1, label=name)
        panel.set_yscale("log")
        panel.set_ylabel(f"{access.split()[0]}s, ms")
        panel.grid(alpha=0.3)
    for number, step in enumerate(rehearsal.steps, 1):
        at = (step.start - start, 1)
        panels[0].annotate(str(number), at, xycoords=("data", "axes fraction"), va="bottom")
    figure.supxlabel("seconds")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=72)
    pyplot.close(figure)


def _slowest(rehearsal: Rehearsal, client: str, start: float) -> tuple[list[float], list[float]]:
    """Return times, and a client's slowest run near each, in milliseconds."""
    runs = rehearsal.clients[client].runs
    width = (rehearsal.steps[-1].end + rehearsal.settle - start) / POINTS
    slowest: dict[int, float] = {}
    for due, seconds, _ in runs:
        point = int((due - start) / width)
        slowest[point] = max(slowest.get(point, 0), 1000 * seconds)
    return [point * width for point in slowest], [*slowest.values()]
