"""The table in ``CONTRIBUTING.md``: operations dangerous for a live database, with safe forms.

The effects of each form are measured on one release of PostgreSQL at a time, and stored for each
in ``docs/dangerous-operations.json``.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.operations import OPERATIONS, Effects
from tools.document import Measured, Texts, different, read, updated

NAME = "dangerous-operations"
GUIDE = "CONTRIBUTING.md"
RESULTS = "docs/dangerous-operations.json"


def results() -> dict[str, Effects]:
    """Return the measurements, by release of PostgreSQL."""
    by_release: dict[str, Effects] = json.loads(read(RESULTS))
    return by_release


def anchor(title: str) -> str:
    """Return the name of a section in a link."""
    return re.sub(r"[^\w -]", "", title).replace(" ", "-").lower()


def table(by_release: Mapping[str, Effects]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"Measured on PostgreSQL {' and '.join(sorted(by_release, key=int))}.\n"
    yield "| to | dangerous | locks | application | safe | locks | application |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for operation in OPERATIONS:
        link = f"[{operation.safe}](#{anchor(operation.safe)})"
        dangerous = _cells(by_release, "dangerous", operation.title)
        safe = _cells(by_release, "safe", operation.safe)
        yield f"| {' | '.join([operation.title, operation.shown, *dangerous, link, *safe])} |"


def _cells(by_release: Mapping[str, Effects], form: str, title: str) -> Iterator[str]:
    """Yield the cells; values that are the same on all releases appear once."""
    for part in range(2):
        values = {
            release: effects.get(form, {}).get(title, ["", ""])[part]
            for release, effects in sorted(by_release.items())
        }
        if len({*values.values()}) == 1:
            yield next(iter(values.values()))
        else:
            yield "<br>".join(f"{release}: {value}" for release, value in values.items())


def page(by_release: Mapping[str, Effects]) -> str:
    """Return the text of the guide."""
    return updated(GUIDE, NAME, "\n".join([*table(by_release), ""]))


def measure(server: str) -> tuple[str, Effects]:
    """Run every form on a server; return its release and their effects."""
    from tests.support.measured import measure_dangerous, measure_recipe
    from tests.support.probe_revisions import Revisions
    from verification import databases
    from verification.history import Databases
    from verification.rows import FilledDatabases

    release = str(databases.release(server))
    effects: Effects = {"dangerous": {}, "safe": {}}
    with (
        databases.database_factory(server) as make_database,
        tempfile.TemporaryDirectory() as directory,
    ):
        filled = FilledDatabases(make_database, Databases(make_database))

        def revisions(number: int) -> Revisions:
            path = Path(directory, str(number))
            path.mkdir()
            return Revisions(path)

        for number, operation in enumerate(OPERATIONS):
            if operation.dangerous:
                measured = measure_dangerous(operation, revisions(2 * number), filled)
                effects["dangerous"][operation.title] = measured.effect
            if operation.safe not in effects["safe"]:
                measured = measure_recipe(operation.safe, revisions(2 * number + 1), filled)
                effects["safe"][operation.safe] = measured.effect
    return release, effects


def texts(server: str) -> Texts:
    """Measure on a server, and return the results of all releases and the guide."""
    release, effects = measure(server)
    by_release = results() | {release: effects}
    text = json.dumps(by_release, indent=2, sort_keys=True, ensure_ascii=False)
    return {RESULTS: f"{text}\n", GUIDE: page(by_release)}


def outdated() -> list[str]:
    """Return the guide if its table differs from the results."""
    return different({GUIDE: page(results())})


DOCUMENT = Measured(NAME, texts, outdated)
