"""The command line: ``python -m trading_bot_schema upgrade head``.

It has all of Alembic's commands, both in a checkout and where the wheel is installed, such as in a
container image; ``plan``, which reports what an upgrade would do; ``drift``, which compares a
database with its migrations; and ``postgres start|stop|psql`` for the embedded server.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from alembic.config import CommandLine
from alembic.util import CommandError

from trading_bot_schema import console, embedded, signals
from trading_bot_schema.configuration import alembic_config
from trading_bot_schema.drift import command as drift
from trading_bot_schema.drivers import environment
from trading_bot_schema.plan import command as plan
from trading_bot_schema.url import (
    DEFAULT_URL,
    EMBEDDED,
    ENVIRONMENT_VARIABLE,
    DatabaseURLError,
    rendered,
)

PROGRAM = "python -m trading_bot_schema"


def alembic() -> None:
    """Run one of Alembic's commands."""
    command_line = CommandLine(prog=PROGRAM)
    command_line.parser.epilog = (
        f"{PROGRAM} plan: what an upgrade would do, and what would block it."
        f" {PROGRAM} drift: whether the database is what its migrations build."
        f" {PROGRAM} postgres start|stop|psql: the embedded server."
    )
    options = command_line.parser.parse_args()
    if "cmd" not in options:
        command_line.parser.error("too few arguments")
    if options.config:
        command_line.parser.error(
            "-c is not supported here: the package's own configuration is used"
        )
    command_line.run_cmd(alembic_config(options), options)


def postgres(program: str, arguments: Sequence[str]) -> int:
    """Start or stop the embedded server (of DATABASE_URL, or in .postgres), or open psql on it."""
    parser = argparse.ArgumentParser(prog=program, description=postgres.__doc__)
    parser.add_argument("command", choices=["start", "stop", "psql"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for psql, such as -c '\\d'")
    options = parser.parse_args(arguments)
    url = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    if not url.startswith(EMBEDDED):
        url = DEFAULT_URL or f"{EMBEDDED}.postgres"
    home = Path(url.removeprefix(EMBEDDED))
    if options.command == "stop":
        print("stopped" if embedded.stop(home) else "was not running")  # noqa: T201
        return 0
    server = embedded.start(home)
    if options.command == "psql":
        psql = embedded.programs() / "psql"
        # As variables, which the arguments may override, such as by the name of a database.
        variables = {
            "PGHOST": str(server.query["host"]),
            "PGPORT": str(server.query["port"]),
            "PGUSER": str(server.username),
            "PGDATABASE": str(server.database),
        }
        os.execve(psql, [str(psql), *options.arguments], environment() | variables)  # noqa: S606
    print(rendered(server))  # noqa: T201
    return 0


COMMANDS = {"drift": drift.run, "plan": plan.run, "postgres": postgres}


def main() -> None:
    """Run the command line."""
    console.replace_closed_streams()
    name, *arguments = sys.argv[1:] or [""]
    with console.output():
        if name not in COMMANDS:
            alembic()
            return
        try:
            with signals.raised():
                sys.exit(COMMANDS[name](f"{PROGRAM} {name}", arguments))
        except (CommandError, DatabaseURLError, embedded.EmbeddedError) as error:
            print(f"ERROR {error}", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        except signals.Interrupted as error:
            print(f"ERROR Interrupted by {error.signal.name}.", file=sys.stderr)  # noqa: T201
            sys.exit(128 + error.signal)


if __name__ == "__main__":
    main()
