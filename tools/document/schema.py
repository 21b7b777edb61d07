"""``docs/schema.sql``: the schema that the migrations build, for review."""

import re
from contextlib import closing

from tools import ROOT
from trading_bot_schema.drift.catalogue import snapshot
from verification import databases, load
from verification.servers import server


def text(heading: str) -> str:
    """Return the statements that create the objects of a migrated database.

    The server is the one that ``TEST_DATABASE_URL`` names, else a temporary one.

    Raises:
        EmbeddedError: There is no server.
    """
    with server() as at, closing(databases.Factory(at)) as make_database:
        url = make_database()
        load(ROOT).migrate(url)
        objects = snapshot(url).objects
        owner = databases.scalar(url, "SELECT current_user")
    # Not created by the migrations, or not SQL.
    excluded = re.compile(r"^DATABASE\b|^ROWS |\(not in the dump\)$|\balembic_version\b")
    shown = [text for name, text in objects.items() if not excluded.search(name)]
    # Only the statements for other owners are kept.
    owned = re.compile(rf"\n*^ALTER .+ OWNER TO {re.escape(owner)};$", re.MULTILINE)
    joined = "\n\n".join([heading, *(owned.sub("", each) for each in shown)]) + "\n"
    return re.sub(r"\n\n(?=COMMENT ON COLUMN)", "\n", joined)
