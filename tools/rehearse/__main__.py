"""The command line: ``python -m tools.rehearse``."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, make_url

from tests.support import data, databases
from tests.support.history import HISTORY
from tests.support.operations import OPERATIONS
from tests.support.probe_revisions import Revisions
from tests.support.recipes import GUIDE
from tools import ROOT
from tools.rehearse import report
from tools.rehearse.rehearsal import Rehearsal, rehearse
from trading_bot_schema import embedded, signals
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.migrator import Settings, connect
from trading_bot_schema.target import connectable
from trading_bot_schema.url import DatabaseURLError, database_url, masked

PAGE = ROOT / "docs" / "rehearsal.md"
SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "max_connections": "100",
}
INITIAL = HISTORY[0].revision


def main(arguments: Sequence[str] | None = None) -> None:
    """Rehearse what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.rehearse",
        description="Run the pending revisions on a copy of a database, or on made-up data, while"
        " the application's statements run at a fixed rate, and report how long those wait.",
    )
    parser.add_argument(
        "--scratch",
        metavar="URL",
        help="a copy of a database, which is migrated; by default, made-up data on a server that"
        " is started for it",
    )
    parser.add_argument("--to", default="head", metavar="REVISION", help="by default, head")
    parser.add_argument(
        "--trades", type=int, default=1_000_000, help="made-up trades; by default, 1000000"
    )
    parser.add_argument("--rate", type=float, default=10, help="runs of each statement a second")
    parser.add_argument("--settle", type=float, default=5, help="seconds before and after each")
    parser.add_argument(
        "--forms",
        action="store_true",
        help="also each dangerous and safe form of CONTRIBUTING.md, on made-up data",
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="where to draw it")
    parser.add_argument("--write", action="store_true", help="write docs/rehearsal.md anew")
    options = parser.parse_args(arguments)
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
        refuse_the_application_s(url)
        print_report(options, _rehearsed(options, url, None, options.trades))
        return
    with embedded.temporary(SETTINGS) as server, ExitStack() as stack:
        world = data.World()
        filled = server.set(database="filled")
        name = _text(server)
        stack.enter_context(databases.database(name, "filled"))
        databases.migrate(_text(filled), INITIAL)
        data.fill(_text(filled), world)
        data.fill_trades(_text(filled), world, 0, options.trades, _progress)
        data.vacuum(_text(filled))
        with copy(server, "filled") as url:
            rehearsal = _rehearsed(options, url, world, options.trades)
        databases.migrate(_text(filled))
        found = list(_forms(options, server, world)) if options.forms else []
        print_report(options, rehearsal, found)


def _rehearsed(
    options: argparse.Namespace, url: URL, world: data.World | None, trades: int
) -> Rehearsal:
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    with connect(url, Settings(connect_wait=0)) as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    pending = {
        revision.revision: revision.doc
        for revision in reversed(list(script.iterate_revisions(options.to, heads or "base")))
    }
    if not pending:
        raise CommandError(f"{masked(url)} has nothing to run.")
    return rehearse(
        _text(url),
        config,
        pending,
        world,
        trades,
        rate=options.rate,
        settle=options.settle,
        show=_show,
    )


def _forms(
    options: argparse.Namespace, server: URL, world: data.World
) -> Iterator[tuple[str, Rehearsal | None, Rehearsal | None]]:
    """Rehearse both forms of each operation of the guide."""
    # Without the guard that ends what blocks for long: it is to be seen.
    os.environ["MIGRATION_HOLD_TIMEOUT"] = "0"
    for operation in OPERATIONS:
        pair: list[Rehearsal | None] = []
        dangerous = f"def upgrade() -> None:\n{_indent(operation.dangerous)}"
        for functions in (
            (dangerous,) if operation.dangerous else (),
            GUIDE[operation.safe].revisions,
        ):
            if not functions:
                pair.append(None)
                continue
            _show(f"{operation.title}: {'dangerous' if not pair else 'safe'}")
            with (
                tempfile.TemporaryDirectory() as directory,
                copy(server, "filled") as url,
            ):
                revisions = Revisions(Path(directory))
                names = {}
                for number, function in enumerate(functions, start=1):
                    revisions.add(name := f"form{number}", function)
                    names[name] = operation.title
                pair.append(
                    rehearse(
                        _text(url),
                        revisions.config,
                        names,
                        world,
                        options.trades,
                        rate=options.rate,
                        settle=min(options.settle, 2),
                    )
                )
        yield operation.title, pair[0], pair[1]


@contextmanager
def copy(server: URL, template: str) -> Iterator[URL]:
    """Yield the URL of a copy of a database, and drop it."""
    with databases.database(_text(server), f"copy_{uuid4().hex[:8]}", template) as url:
        yield make_url(url)


def refuse_the_application_s(scratch: URL) -> None:
    """Refuse to write to the database that DATABASE_URL names.

    Raises:
        CommandError: They are the same.
    """
    if "DATABASE_URL" not in os.environ:
        return
    application = connectable(database_url())
    try:
        same = _identity(application) == _identity(scratch)
    except CommandError:  # It cannot be connected to from here.
        same = application.set(password=None) == scratch.set(password=None)
    if same:
        raise CommandError(
            "--scratch names the database of DATABASE_URL, which a rehearsal would migrate and"
            " fill with made-up trades: name a copy of it."
        )


def _identity(url: URL) -> tuple[object, ...]:
    with connect(url, Settings(connect_wait=0)) as connection:
        return tuple(
            connection.exec_driver_sql(
                "SELECT (SELECT system_identifier FROM pg_control_system()), oid"
                " FROM pg_database WHERE datname = current_database()"
            ).one()
        )


def print_report(
    options: argparse.Namespace,
    rehearsal: Rehearsal,
    forms: Sequence[tuple[str, Rehearsal | None, Rehearsal | None]] = (),
) -> None:
    """Print the tables, and draw and write what is asked for."""
    parts = [
        "\n".join(report.steps(rehearsal)),
        "\n".join(report.tables(rehearsal)),
        *(["\n".join(report.forms(forms))] if forms else []),
    ]
    print("\n\n".join(parts))  # noqa: T201
    if options.picture:
        report.draw(rehearsal, options.picture)
    if options.write:
        report.write(PAGE, options.trades, rehearsal, forms)


def _progress(chunks: range) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(chunks, "trades", unit="0k", dynamic_ncols=True))


def _show(what: str) -> None:
    print(what, file=sys.stderr)  # noqa: T201


def _indent(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
