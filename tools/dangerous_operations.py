"""Operations that hurt a live database, beside their safe forms: the table in CONTRIBUTING.md.

What each form does is measured by ``tests/test_guide.py`` on the releases of PostgreSQL that
``docs/dangerous-operations.json`` has; this module makes the table of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import ROOT

GUIDE = ROOT / "CONTRIBUTING.md"
MEASURED = ROOT / "docs" / "dangerous-operations.json"
BEGIN = "<!-- Measured by: pytest tests/test_guide.py --refresh -->"
END = "<!-- End of the table -->"


@dataclass(frozen=True)
class Operation:
    """An operation, in its dangerous form and in its safe one."""

    title: str
    shown: str
    """The dangerous form, as the table shows it."""
    dangerous: str
    """The body of ``upgrade()``; empty: there is no other form than the safe one."""
    safe: str
    """Section of the guide with the safe form."""
    deployed_without: frozenset[str] = frozenset()
    """Tables and columns that the application has ceased to use before the safe form runs."""


OPERATIONS = [
    Operation(
        "add a NOT NULL column",
        "`ADD COLUMN tag uuid NOT NULL DEFAULT gen_random_uuid()`",
        'op.execute("ALTER TABLE trades ADD COLUMN tag uuid NOT NULL DEFAULT gen_random_uuid()")',
        "Add a NOT NULL column whose values differ",
    ),
    Operation(
        "add a NOT NULL column with one value",
        "",
        "",
        "Add a NOT NULL column with a constant default",
    ),
    Operation(
        "set NOT NULL",
        "`SET NOT NULL`",
        'op.execute("ALTER TABLE bot_states ALTER COLUMN last_updated_at DROP NOT NULL")\n'
        'op.execute("ALTER TABLE bot_states ALTER COLUMN last_updated_at SET NOT NULL")',
        "Make a column NOT NULL",
    ),
    Operation(
        "rename a column",
        "`RENAME COLUMN`",
        'op.alter_column("trades", "pnl", new_column_name="profit")',
        "Change a column's type or name: expand and contract",
    ),
    Operation(
        "change a type",
        "`ALTER COLUMN ... TYPE bigint`",
        'op.alter_column("bot_states", "daily_trades_count", type_=sa.BigInteger())',
        "Change a column's type or name: expand and contract",
    ),
    Operation("widen a varchar", "", "", "Widen a varchar"),
    Operation(
        "add an index",
        "`CREATE INDEX`",
        'op.execute("CREATE INDEX ix_trades_symbol ON trades (symbol)")',
        "Add an index",
    ),
    Operation(
        "add UNIQUE",
        "`ADD CONSTRAINT ... UNIQUE`",
        'op.execute("ALTER TABLE api_keys ADD CONSTRAINT uq UNIQUE (id, label)")',
        "Add a unique constraint",
    ),
    Operation(
        "add a foreign key",
        "`ADD CONSTRAINT ... FOREIGN KEY`",
        'op.execute("ALTER TABLE bot_configs ADD CONSTRAINT fk FOREIGN KEY (user_id)'
        ' REFERENCES users")',
        "Add a foreign key",
    ),
    Operation(
        "add or change a CHECK",
        "`ADD CONSTRAINT ... CHECK`",
        'op.execute("ALTER TABLE trades ADD CONSTRAINT ck CHECK (price >= 0)")',
        "Add or change a CHECK",
    ),
    Operation(
        "change many rows",
        "`UPDATE` of all rows, each of which stays locked until the end",
        'op.execute("UPDATE bot_states SET last_error_message = NULL")',
        "Change many rows",
    ),
    Operation(
        "drop an index",
        "`DROP INDEX`",
        'op.execute("DROP INDEX ix_trades_user_id")',
        "Drop an index",
    ),
    Operation(
        "drop a column",
        "`DROP COLUMN` before the code that fits",
        'op.execute("ALTER TABLE trades DROP COLUMN commission_asset")',
        "Drop a column",
        frozenset({"trades.commission_asset"}),
    ),
    Operation(
        "drop a table",
        "`DROP TABLE` with its foreign keys",
        'op.execute("DROP TABLE trades")',
        "Drop a table",
        frozenset({"trades"}),
    ),
]

Effect = list[str]
"""What a form does: its locks, and what the application sees."""
Effects = dict[str, dict[str, Effect]]
"""By ``dangerous`` and the operation's title, and by ``safe`` and the section's."""


def measured() -> dict[str, Effects]:
    """Return what was measured, by release of PostgreSQL."""
    found: dict[str, Effects] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def write(found: Mapping[str, Effects]) -> None:
    """Write down what was measured, and make the table of it."""
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False)
    MEASURED.write_text(f"{text}\n", encoding="utf-8")
    for path, page in documents().items():
        path.write_text(page, encoding="utf-8")


def anchor(title: str) -> str:
    """Return how a link names a section."""
    return re.sub(r"[^\w -]", "", title).replace(" ", "-").lower()


def table(found: Mapping[str, Effects]) -> Iterator[str]:
    """Make the table, line by line."""
    yield f"Measured on PostgreSQL {' and '.join(sorted(found, key=int))}."
    yield ""
    yield "| to | dangerous | locks | application | safe | locks | application |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for operation in OPERATIONS:
        link = f"[{operation.safe}](#{anchor(operation.safe)})"
        dangerous = _cells(found, "dangerous", operation.title)
        safe = _cells(found, "safe", operation.safe)
        yield f"| {' | '.join([operation.title, operation.shown, *dangerous, link, *safe])} |"


def _cells(found: Mapping[str, Effects], form: str, title: str) -> Iterator[str]:
    """Say a thing once, where it is the same on all releases."""
    for part in range(2):
        values = {
            release: effects.get(form, {}).get(title, ["", ""])[part]
            for release, effects in sorted(found.items())
        }
        if len({*values.values()}) == 1:
            yield next(iter(values.values()))
        else:
            yield "<br>".join(f"{release}: {value}" for release, value in values.items())


def guide(text: str, found: Mapping[str, Effects]) -> str:
    """Return the guide with the table in its place.

    Raises:
        ValueError: It has no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{GUIDE.name} has no place for the table: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n" + "\n".join(table(found)) + f"\n{END}{after}"


def documents() -> dict[Path, str]:
    """Return the guide as it should be.

    Raises:
        ValueError: It has no place for the table.
    """
    return {GUIDE: guide(GUIDE.read_text(encoding="utf-8"), measured())}
