"""``python -m trading_bot_schema drift``: reports manual changes of a database."""

import argparse
from collections.abc import Sequence

from alembic.script import ScriptDirectory
from alembic.util import CommandError

from trading_bot_schema.configuration import (
    alembic_config,
    check_revisions,
    configured_target,
)
from trading_bot_schema.drift import scratch
from trading_bot_schema.drift.catalogue import snapshot
from trading_bot_schema.drift.expected import IGNORABLE, differences_from
from trading_bot_schema.migrator.plan import newer_version
from trading_bot_schema.target import connectable


def run(program: str, arguments: Sequence[str]) -> int:
    """Compare the database with its migrations; return 0 if they agree, 1 if they do not.

    Raises:
        CommandError: They cannot be compared.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Compare the database that DATABASE_URL names, which is only read, with what"
        " the migrations build at its revision.",
        epilog="Exit status: 0: no drift; 1: drift, or tables that this role may not read; 2: an"
        " error.",
    )
    parser.add_argument(
        "--scratch",
        metavar="URL",
        help="server on which to create, and drop, databases for the comparison; by default an"
        " embedded one, started for it",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        choices=IGNORABLE,
        help="what not to report; may be given several times. "
        + "; ".join(f"{name}: {what}" for name, what in IGNORABLE.items()),
    )
    options = parser.parse_args(arguments)
    elsewhere = connectable(options.scratch) if options.scratch else None
    config = alembic_config()
    live = snapshot(configured_target(config))
    if newer := newer_version(
        live.revisions or [], check_revisions(ScriptDirectory.from_config(config))
    ):
        raise CommandError(f"{newer} Run this with that version.")
    with (
        scratch.server(live.server, elsewhere) as server,
        scratch.built(server, live) as reference,
    ):
        report = differences_from(
            reference, live, set(options.ignore), lambda: scratch.restored(server, reference)
        )
    for schema, name in sorted(live.unreadable):
        unknown = "unknown, as this role may not read it (GRANT SELECT, USAGE)"
        print(f"TABLE {schema}.{name}: {unknown}")  # noqa: T201
    if report:
        print(report)  # noqa: T201
    if report or live.unreadable:
        return 1
    revisions = ", ".join(live.revisions or ["base"])
    print(f"No drift: this is what the migrations build at {revisions}.")  # noqa: T201
    return 0
