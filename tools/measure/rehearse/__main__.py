"""The command line: ``python -m tools.measure.rehearse``."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, make_url

from tests.support import data
from tests.support.operations import OPERATIONS
from tests.support.probe_revisions import Revisions
from tools import ROOT
from tools.measure.rehearse import report
from tools.measure.rehearse.rehearsal import Form, Rehearsal, rehearse
from trading_bot_schema import embedded, signals
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.migrator import Settings, connect
from trading_bot_schema.plan.revisions import pending
from trading_bot_schema.target import connectable
from trading_bot_schema.url import DatabaseURLError, database_url, masked
from verification import databases, load
from verification.recipes import recipes

PAGE = ROOT / "docs" / "rehearsal.md"
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
}
GUIDE = recipes(load(ROOT).guide, "###")
INITIAL = load(ROOT).history[0].revision


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure.rehearse",
        description="Run the pending revisions on a copy of a database, or on generated data,"
        " while the application's statements run at a fixed rate, and report how long those wait.",
    )
    parser.add_argument(
        "--scratch",
        metavar="URL",
        help="a copy of a database, which is migrated; by default, generated data on a server that"
        " is started for it",
    )
    parser.add_argument("--to", default="head", metavar="REVISION", help="by default, head")
    parser.add_argument(
        "--trades",
        type=_sizes,
        default=[1_000_000],
        metavar="NUMBER,...",
        help="number of generated trades, or several; by default, 1000000",
    )
    parser.add_argument("--rate", type=float, default=10, help="runs of each statement a second")
    parser.add_argument("--settle", type=float, default=5, help="seconds before and after each")
    parser.add_argument(
        "--forms",
        action="store_true",
        help="also each dangerous and safe form of docs/recipes.md, on generated data, at the"
        " smallest number of trades",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.svg",
        help="where to draw the latencies, at the largest number of trades",
    )
    parser.add_argument("--write", action="store_true", help="update docs/rehearsal.md")
    options = parser.parse_args(arguments)
    if options.scratch and (options.forms or options.write):
        parser.error("--forms and --write need generated data, so not --scratch")
    try:
        with signals.raised():
            _run(options)
    except (CommandError, DatabaseURLError, embedded.EmbeddedError) as error:
        sys.exit(f"ERROR {error}")
    except signals.Interrupted as error:
        print(f"ERROR Interrupted by {error.signal.name}.", file=sys.stderr)  # noqa: T201
        sys.exit(128 + error.signal)


def _run(options: argparse.Namespace) -> None:
    if options.scratch:
        url = connectable(options.scratch)
        refuse_application_database(url)
        rehearsal = _rehearse_pending(options, url, None, 0)
        print_tables(rehearsal)
        if options.picture:
            report.draw(rehearsal, options.picture)
        return
    with embedded.temporary(SETTINGS) as server, ExitStack() as stack:
        dataset = data.Dataset()
        filled = stack.enter_context(copy(server, "template0"))
        load(ROOT).migrate(_rendered(filled), INITIAL)
        data.fill(_rendered(filled), dataset)
        rehearsals: dict[int, Rehearsal] = {}
        forms: list[Form] = []
        for before, trades in pairwise([0, *options.trades]):
            data.fill_trades(_rendered(filled), dataset, before, trades, _progress)
            data.vacuum(_rendered(filled))
            with copy(server, str(filled.database)) as url:
                rehearsals[trades] = _rehearse_pending(options, url, dataset, trades)
                if options.forms and not forms:
                    forms = list(_rehearse_forms(options, url, dataset, trades))
    for trades, rehearsal in rehearsals.items():
        print(report.title(trades), end="\n\n")  # noqa: T201
        print_tables(rehearsal)
    if forms:
        print(*report.forms(forms), sep="\n")  # noqa: T201
    if options.picture:
        report.draw(rehearsals[max(rehearsals)], options.picture)
    if options.write:
        report.write(PAGE, rehearsals, forms)


def _rehearse_pending(
    options: argparse.Namespace, url: URL, dataset: data.Dataset | None, trades: int
) -> Rehearsal:
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    with connect(url, Settings(connect_wait=0)) as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    revisions = {
        revision.revision: revision.title
        for revision in pending(script, heads, options.to, Settings())
    }
    if not revisions:
        raise CommandError(f"{masked(url)} has nothing to run.")
    return rehearse(
        _rendered(url),
        config,
        revisions,
        dataset,
        trades,
        rate=options.rate,
        settle=options.settle,
        show=_print_step,
    )


def _rehearse_forms(
    options: argparse.Namespace, template: URL, dataset: data.Dataset, trades: int
) -> Iterator[Form]:
    """Rehearse both forms of each operation of the guide."""
    # Disables the limit on how long a transaction may block: the wait is to be measured.
    os.environ["MIGRATION_HOLD_TIMEOUT"] = "0"
    form = partial(_rehearse_form, options, template, dataset, trades)
    for operation in OPERATIONS:
        _print_step(operation.title)
        yield (
            operation.title,
            form([operation.dangerous]) if operation.dangerous else None,
            form(GUIDE[operation.safe].revisions, operation.deployed_without),
        )


def _rehearse_form(
    options: argparse.Namespace,
    template: URL,
    dataset: data.Dataset,
    trades: int,
    upgrades: Sequence[str],
    unused: frozenset[str] = frozenset(),
) -> Rehearsal:
    with (
        tempfile.TemporaryDirectory() as directory,
        copy(template, str(template.database)) as url,
    ):
        revisions = Revisions(load(ROOT), Path(directory))
        names = [f"form{number}" for number, _ in enumerate(upgrades, start=1)]
        for name, upgrade in zip(names, upgrades, strict=True):
            revisions.add(name, upgrade)
        return rehearse(
            _rendered(url),
            revisions.config,
            dict.fromkeys(names, ""),
            dataset,
            trades,
            rate=options.rate,
            settle=min(options.settle, 2),
            without=unused,
        )


@contextmanager
def copy(server: URL, template: str) -> Iterator[URL]:
    """Yield the URL of a copy of a database, and drop it."""
    with databases.database(_rendered(server), f"copy_{uuid4().hex[:8]}", template) as url:
        yield make_url(url)


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


def _identity(url: URL) -> tuple[object, ...]:
    with connect(url, Settings(connect_wait=0)) as connection:
        return tuple(
            connection.exec_driver_sql(
                "SELECT (SELECT system_identifier FROM pg_control_system()), oid"
                " FROM pg_database WHERE datname = current_database()"
            ).one()
        )


def print_tables(rehearsal: Rehearsal) -> None:
    """Print the tables of a rehearsal."""
    for table in (report.steps(rehearsal), report.tables(rehearsal)):
        print(*table, sep="\n", end="\n\n")  # noqa: T201


def _sizes(text: str) -> list[int]:
    if not re.fullmatch("[1-9][0-9]*(,[1-9][0-9]*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} should be numbers from 1, such as 1000,5000")
    return sorted(map(int, text.split(",")))


def _progress(chunks: range) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))


def _print_step(title: str) -> None:
    print(title, file=sys.stderr)  # noqa: T201


def _rendered(url: URL) -> str:
    return url.render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
