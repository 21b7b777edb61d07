"""The command line: ``python -m tools.measure``."""

import argparse
import os
import sys
from contextlib import closing
from functools import partial

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from tools import ROOT
from tools.markdown import page
from tools.measure import benchmarks
from tools.measure.data import PROJECT, HotQueries, filled
from tools.measure.rehearsal import Upgrade, rehearse
from trading_bot_schema import signals
from trading_bot_schema.embedded import EmbeddedError
from trading_bot_schema.migrator import Settings, connect
from trading_bot_schema.plan.revisions import pending
from trading_bot_schema.target import connectable
from trading_bot_schema.url import DatabaseURLError, database_url, masked
from verification import databases


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure", description=__doc__)
    commands = parser.add_subparsers(required=True)
    benchmark = commands.add_parser("benchmark", help="measure queries and writes")
    benchmark.set_defaults(run=_benchmark, page="benchmarks", scratch=None)
    rehearsal = commands.add_parser(
        "rehearse",
        help="run revisions beside the application's statements, and report how long those wait",
    )
    rehearsal.set_defaults(run=_rehearse, page="rehearsal")
    for command, sizes in ((benchmark, [1_000_000, 10_000_000]), (rehearsal, [1_000_000])):
        command.add_argument(
            "--trades",
            type=int,
            nargs="+",
            default=sizes,
            metavar="NUMBER",
            help="numbers of generated trades, in increasing order; by default, %(default)s",
        )
        command.add_argument("--write", action="store_true", help="update the page in docs/")
    rehearsal.add_argument(
        "--scratch",
        metavar="URL",
        help="a copy of a database, which is migrated; by default, generated data on a server that"
        " is started for it",
    )
    rehearsal.add_argument(
        "--sql",
        action="append",
        default=[],
        metavar="STATEMENT",
        help="a statement to run after the revisions, such as ALTER TABLE ...; may be repeated",
    )
    rehearsal.add_argument("--settle", type=float, default=5, help="seconds before and after each")
    options = parser.parse_args()
    if options.scratch and options.write:
        parser.error("--write needs generated data, so not --scratch")
    try:
        with signals.raised():
            lines = options.run(options)
    except (CommandError, DatabaseURLError, EmbeddedError, SQLAlchemyError, ValueError) as error:
        sys.exit(f"ERROR {str(error).splitlines()[0]}")
    except signals.Interrupted as error:
        print(f"ERROR Interrupted by {error.signal.name}.", file=sys.stderr)  # noqa: T201
        sys.exit(128 + error.signal)
    print(*lines, sep="\n")  # noqa: T201
    if options.write:
        path = f"docs/{options.page}.md"
        text = page(path, "results", [*lines, ""], "python -m tools.measure")
        (ROOT / path).write_text(text, encoding="utf-8")


def _benchmark(options: argparse.Namespace) -> list[str]:
    # Otherwise commits would wait for the disk most of the time, and hide the cost of an index.
    with closing(filled(options.trades, synchronous_commit="off")) as sizes:
        return [*benchmarks.tables(sizes)]


def _rehearse(options: argparse.Namespace) -> list[str]:
    """Rehearse on the copy that is given, else at each number of trades."""
    if options.scratch:
        scratch = connectable(options.scratch)
        refuse_application_database(scratch)
        return _rehearsed(options, scratch.render_as_string(hide_password=False), {})
    lines: list[str] = []
    with closing(filled(options.trades)) as sizes:
        for trades, url, hot_queries in sizes:
            lines += ["", f"### At {trades:,} trades", ""]
            lines += _rehearsed(options, url, hot_queries)
    return lines


def _rehearsed(options: argparse.Namespace, url: str, hot_queries: HotQueries) -> list[str]:
    """Rehearse the pending revisions, then the statements.

    Raises:
        CommandError: There is nothing to run.
    """
    with databases.sync_engine(url).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    upgrades: dict[str, Upgrade] = {
        f"`{one.revision}` {one.title}": partial(PROJECT.migrate, revision=one.revision)
        for one in pending(PROJECT.scripts, heads, "head", Settings())
    }
    upgrades |= {f"`{' '.join(sql.split())}`": partial(_execute, sql) for sql in options.sql}
    if not upgrades:
        raise CommandError(f"{masked(make_url(url))} has nothing to run.")
    return [*rehearse(url, upgrades, hot_queries, options.settle, partial(print, file=sys.stderr))]


def _execute(sql: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(sql)


def refuse_application_database(scratch: URL) -> None:
    """Refuse to write to the database that DATABASE_URL names.

    Raises:
        CommandError: They are the same, or one of them is unreachable.
    """
    if "DATABASE_URL" in os.environ and (
        _identity(connectable(database_url())) == _identity(scratch)
    ):
        raise CommandError(
            "--scratch names the database of DATABASE_URL, which a rehearsal would migrate and"
            " write to: name a copy of it."
        )


def _identity(url: URL) -> object:
    with connect(url, Settings(connect_wait=0)) as connection:
        return connection.exec_driver_sql(
            "SELECT system_identifier, current_database() FROM pg_control_system()"
        ).one()


if __name__ == "__main__":
    main()
