"""The command line: ``python -m tools.measure``."""

import argparse
import os
import re
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from tools import ROOT
from tools.markdown import page
from tools.measure import benchmarks, report
from tools.measure.data import PROJECT, WORKLOAD, HotQueries, filled
from tools.measure.rehearsal import Upgrade, rehearse
from trading_bot_schema import signals
from trading_bot_schema.embedded import EmbeddedError
from trading_bot_schema.migrator import Settings, connect
from trading_bot_schema.plan.revisions import pending
from trading_bot_schema.target import connectable
from trading_bot_schema.url import DatabaseURLError, database_url, masked
from verification import databases

PAGE = "docs/rehearsal.md"
COMMAND = "tox -e rehearse"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure", description=__doc__)
    commands = parser.add_subparsers(required=True)
    benchmark = commands.add_parser(
        "benchmark", help=f"measure queries and writes, and record them in {benchmarks.RESULTS}"
    )
    benchmark.set_defaults(run=_benchmark)
    rehearsal = commands.add_parser(
        "rehearse",
        help="run revisions beside the application's statements, and report how long those wait",
    )
    rehearsal.set_defaults(run=_rehearse)
    for command, sizes in ((benchmark, "1000000,10000000"), (rehearsal, "1000000")):
        command.add_argument(
            "--trades",
            type=_sizes,
            default=sizes,
            metavar="NUMBER,...",
            help="number of generated trades, or several; by default, %(default)s",
        )
    rehearsal.add_argument(
        "--scratch",
        metavar="URL",
        help="a copy of a database, which is migrated; by default, generated data on a server that"
        " is started for it",
    )
    rehearsal.add_argument("--to", default="head", metavar="REVISION", help="by default, head")
    rehearsal.add_argument(
        "--sql",
        action="append",
        default=[],
        metavar="STATEMENT",
        help="a statement to run after the revisions, such as ALTER TABLE ...; may be repeated",
    )
    rehearsal.add_argument(
        "--rate", type=float, default=10, help="runs of each statement a second"
    )
    rehearsal.add_argument("--settle", type=float, default=5, help="seconds before and after each")
    rehearsal.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="where to draw the latencies, at the largest number of trades",
    )
    rehearsal.add_argument("--write", action="store_true", help=f"update {PAGE}")
    options = parser.parse_args()
    if options.run is _rehearse and options.scratch and options.write:
        parser.error("--write needs generated data, so not --scratch")
    try:
        with signals.raised():
            options.run(options)
    except (CommandError, DatabaseURLError, EmbeddedError, SQLAlchemyError, ValueError) as error:
        sys.exit(f"ERROR {str(error).splitlines()[0]}")
    except signals.Interrupted as error:
        print(f"ERROR Interrupted by {error.signal.name}.", file=sys.stderr)  # noqa: T201
        sys.exit(128 + error.signal)


def _sizes(text: str) -> list[int]:
    if not re.fullmatch("[1-9][0-9]*(,[1-9][0-9]*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} should be numbers from 1, such as 1000,5000")
    return sorted(map(int, text.split(",")))


def _benchmark(options: argparse.Namespace) -> None:
    # Otherwise commits would wait for the disk most of the time, and hide the cost of an index.
    with closing(filled(options.trades, synchronous_commit="off")) as sizes:
        results = benchmarks.measure(sizes)
    (ROOT / benchmarks.RESULTS).write_text(benchmarks.dumped(results), encoding="utf-8")


def _rehearse(options: argparse.Namespace) -> None:
    """Rehearse on the copy that is given, else at each number of trades."""
    if options.scratch:
        target = connectable(options.scratch)
        refuse_application_database(target)
        scratch = target.render_as_string(hide_password=False)
        _report(options, scratch, WORKLOAD.statements_for(scratch), options.picture)
        return
    written: list[str] = []
    with closing(filled(options.trades)) as sizes:
        for trades, url, statements in sizes:
            name = f"rehearsal-{trades}.png"
            picture = ROOT / "docs" / name if options.write else options.picture
            tables = _report(options, url, statements, picture)
            written += ["", f"### At {trades:,} trades", "", *tables, ""]
            written += [f"![Latency of reads and writes over time]({name})"]
    if options.write:
        text = page(PAGE, "rehearsals", [*written, ""], COMMAND)
        (ROOT / PAGE).write_text(text, encoding="utf-8")


def _report(
    options: argparse.Namespace, url: str, hot_queries: HotQueries, picture: Path | None
) -> list[str]:
    """Rehearse the pending revisions, then the statements; print the tables, and return them.

    Raises:
        CommandError: There is nothing to run, or the revision is unknown.
    """
    with databases.sync_engine(url).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    upgrades: dict[str, Upgrade] = {
        f"`{one.revision}` {one.title}": partial(PROJECT.migrate, revision=one.revision)
        for one in pending(PROJECT.scripts, heads, options.to, Settings())
    }
    upgrades |= {f"`{' '.join(sql.split())}`": partial(_execute, sql) for sql in options.sql}
    if not upgrades:
        raise CommandError(f"{masked(make_url(url))} has nothing to run.")
    show = partial(print, file=sys.stderr)
    rehearsal = rehearse(url, upgrades, hot_queries, options.rate, options.settle, show)
    tables = [*report.tables(rehearsal)]
    print(*tables, sep="\n", flush=True)  # noqa: T201
    if picture:
        report.draw(rehearsal, picture)
    return tables


def _execute(sql: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(sql)


def refuse_application_database(scratch: URL) -> None:
    """Refuse to write to the database that DATABASE_URL names.

    Raises:
        CommandError: They are the same.
    """
    if "DATABASE_URL" not in os.environ:
        return
    application = connectable(database_url())
    try:
        same = _identity(application) == _identity(scratch)
    except CommandError:  # One of them is unreachable.
        same = application._replace(password=None) == scratch._replace(password=None)
    if same:
        raise CommandError(
            "--scratch names the database of DATABASE_URL, which a rehearsal would migrate and"
            " fill with generated trades: name a copy of it."
        )


def _identity(url: URL) -> object:
    with connect(url, Settings(connect_wait=0)) as connection:
        return connection.exec_driver_sql(
            "SELECT system_identifier, current_database() FROM pg_control_system()"
        ).one()


if __name__ == "__main__":
    main()
