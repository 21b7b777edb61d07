"""``docs/schema.sql`` shows the schema that the migrations build, for review.

``pytest tests/test_schema.py --refresh`` writes it.
"""

import re
from difflib import unified_diff

import psycopg

from tests.support.databases import ROOT
from trading_bot_schema.drift.catalogue import snapshot

FILE = ROOT / "docs" / "schema.sql"
COMMAND = "pytest tests/test_schema.py --refresh"
HEADING = f"-- The schema at the head revision. Made by: {COMMAND}\n"
# Not the migrations' own, or not SQL.
LEFT_OUT = re.compile(r"^DATABASE\b|^ROWS |\(not in the dump\)$|\balembic_version\b")


def schema(url: str) -> str:
    with psycopg.connect(url) as connection:
        owner = connection.info.user
    objects = [text for name, text in snapshot(url).objects.items() if not LEFT_OUT.search(name)]
    # Whoever migrates owns everything; only other owners are worth a line.
    owned = re.compile(rf"\n*^ALTER .+ OWNER TO {re.escape(owner)};$", re.MULTILINE)
    text = "\n\n".join([HEADING.strip(), *(owned.sub("", text) for text in objects)]) + "\n"
    return re.sub(r"\n\n(?=COMMENT ON COLUMN)", "\n", text)


def test_schema_is_up_to_date(database: str, refresh: bool) -> None:
    fresh = schema(database)
    if refresh:
        FILE.write_text(fresh)
    kept = FILE.read_text() if FILE.exists() else ""
    changes = unified_diff(
        kept.splitlines(), fresh.splitlines(), "kept", "fresh", n=0, lineterm=""
    )
    report = "\n".join(changes)
    assert not report, f"docs/schema.sql is out of date. Run: {COMMAND}\n{report}"
