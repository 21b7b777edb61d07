"""The command line: ``python -m tools.measure``."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Engine, make_url

from tools import ROOT
from tools.markdown import page
from tools.measure import benchmarks, report
from tools.measure.data import PROJECT, copied, filled, workload
from tools.measure.rehearsal import Rehearsal, Upgrade, rehearse
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
    except (CommandError, DatabaseURLError, EmbeddedError, ValueError) as error:
        sys.exit(f"ERROR {error}")
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
    """Print the tables, and write them to the page with a picture of each."""
    written: list[str] = []
    for trades, rehearsal in _rehearsals(options):
        lines = [f"### At {trades:,} trades", "", *report.tables(rehearsal), ""]
        print(*lines, sep="\n", flush=True)  # noqa: T201
        if options.picture:
            report.draw(rehearsal, options.picture)
        if options.write:
            picture = f"rehearsal-{trades}.png"
            report.draw(rehearsal, ROOT / "docs" / picture)
            written += [*lines, f"![Latency while they run]({picture})", ""]
    if options.write:
        text = page(PAGE, "rehearsals", ["", *written], COMMAND)
        (ROOT / PAGE).write_text(text, encoding="utf-8")


def _rehearsals(options: argparse.Namespace) -> Iterator[tuple[int, Rehearsal]]:
    """Yield a rehearsal at each number of trades, or that of the database that is given."""
    if options.scratch:
        target = connectable(options.scratch)
        refuse_application_database(target)
        scratch = target.render_as_string(hide_password=False)
        trades = databases.scalar(scratch, "SELECT count(*) FROM trades")
        yield trades, _rehearsal(options, scratch)
        return
    with closing(filled(options.trades)) as sizes:
        for trades, filled_url in sizes:
            with copied(filled_url) as url:
                yield trades, _rehearsal(options, url)


def _rehearsal(options: argparse.Namespace, url: str) -> Rehearsal:
    """Rehearse the pending revisions, then the statements.

    Raises:
        CommandError: There is neither, or the revision is unknown.
    """
    with databases.sync_engine(url).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    upgrades: dict[str, Upgrade] = {
        f"`{one.revision}` {one.title}": partial(PROJECT.migrate, revision=one.revision)
        for one in pending(PROJECT.scripts, heads, options.to, Settings())
    }
    upgrades |= {f"`{sql}`": partial(_execute, sql) for sql in options.sql}
    if not upgrades:
        raise CommandError(f"{masked(make_url(url))} has nothing to run.")
    return rehearse(
        url,
        upgrades,
        [*workload().statements_for(url).values()],
        rate=options.rate,
        settle=options.settle,
        show=partial(print, file=sys.stderr),
    )


def _execute(sql: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


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
