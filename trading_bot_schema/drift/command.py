"""``python -m trading_bot_schema drift``: reports manual changes of a database."""

import argparse
from collections.abc import Sequence

from trading_bot_schema.configuration import alembic_config, configured_target
from trading_bot_schema.drift.comparison import compare
from trading_bot_schema.drift.expected import IGNORABLE
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
    result = compare(configured_target(alembic_config()), elsewhere, set(options.ignore))
    for table in sorted(result.unknown):
        print(f"TABLE {table}: unknown, as this role may not read it (GRANT SELECT, USAGE)")  # noqa: T201
    if result.differences:
        print(result.differences)  # noqa: T201
    if result.differences or result.unknown:
        return 1
    print(f"No drift: this is what the migrations build at {', '.join(result.revisions)}.")  # noqa: T201
    return 0
