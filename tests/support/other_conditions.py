"""Prints the SQL of all revisions at another time, random seed, and environment.

``python -m tests.support.other_conditions URL`` runs the revisions on an empty database and
offline, several times, at times years apart, and prints the statements as JSON. The caller
sets the environment, with another PYTHONHASHSEED, time zone, home and user.

It also records whether a revision uses files, the network, other programs or the environment. The
audit hooks are described in PEP 578.
"""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import time_machine
from alembic import command
from sqlalchemy import ClauseElement, Connection, Dialect, Insert, event
from sqlalchemy.dialects import registry
from sqlalchemy.schema import DDLElement

from verification import databases, history
from verification.history import HISTORY, SCRIPTS

MOMENTS = [
    datetime(2031, 1, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2032, 2, 29, 12, tzinfo=UTC),
    datetime(2033, 8, 7, 6, 5, 4, tzinfo=UTC),
]
FORBIDDEN = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.__new__",
    "socket.gethostname",
    "socket.getaddrinfo",
}
POSTGRESQL: Dialect = registry.load("postgresql")()

Statements = dict[str, list[str]]
"""Statements by revision and direction, such as ``3f8a6c2d417e upgrade``."""


def running_revision() -> str | None:
    """Return the file of the revision that is running, unless it only imports something."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if name.startswith(SCRIPTS.versions):
            return os.path.basename(name)  # noqa: PTH119 - pathlib may not be called in a hook
        frame = frame.f_back
    return None


class Buffer:
    """Collects the statements that a revision prints offline."""

    def __init__(self) -> None:
        """Start empty."""
        self.statements: list[str] = []

    def write(self, text: str) -> None:
        """Store a statement, unless Alembic itself prints it."""
        statement = normalized(text)
        if running_revision() and statement not in ("BEGIN", "COMMIT"):
            self.statements.append(statement)

    def flush(self) -> None:
        """Do nothing."""


def normalized(statement: str) -> str:
    """Return a statement in a normalized form for comparison."""
    return statement.strip().removesuffix(";").replace("\t", "    ").replace("%%", "%")


def steps() -> Iterator[tuple[str, Callable[..., None], str, str]]:
    """Yield each upgrade, then each downgrade: a name, the command, and both revisions."""
    for direction, scripts in ((command.upgrade, HISTORY), (command.downgrade, HISTORY[::-1])):
        for script in scripts:
            ends = (history.before(script), script.revision)
            start, end = ends if direction is command.upgrade else ends[::-1]
            yield f"{script.revision} {direction.__name__}", direction, start, end


def offline() -> Statements:
    """Return the statements of every revision, run with ``--sql``."""
    statements = {}
    for name, direction, start, end in steps():
        config = databases.alembic_config()
        config.output_buffer = buffer = Buffer()  # type: ignore[assignment]
        direction(config, f"{start}:{end}", sql=True)
        statements[name] = buffer.statements
    return statements


def online(url: str) -> Statements:
    """Return the statements of every revision, run on a database."""
    statements: Statements = {}
    engine = databases.sync_engine(url)
    current: list[str] = []

    @event.listens_for(engine, "before_execute")
    def record(_: Connection, clause: ClauseElement, many: Any, one: Any, __: Any) -> None:
        if running_revision():
            current.extend(literal(clause, values) for values in many or [one])

    for name, direction, _, end in steps():
        current = statements[name] = []
        config = databases.alembic_config()
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            direction(config, end)
            connection.commit()
    return statements


def literal(clause: ClauseElement, values: dict[str, Any]) -> str:
    """Return a statement with literal values, as Alembic prints it offline."""
    if values and isinstance(clause, Insert):
        clause = clause.values(values)
    options = {} if isinstance(clause, DDLElement) else {"literal_binds": True}
    return normalized(str(clause.compile(dialect=POSTGRESQL, compile_kwargs=options)))


def watch(forbidden: list[str]) -> None:
    """Record the forbidden resources that revisions use from now on."""

    def record(resource: str) -> None:
        if file := running_revision():
            forbidden.append(f"{file} uses {resource}")

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in FORBIDDEN:
            record(f"{name} {arguments[0] if arguments else ''}".strip())

    class Environment(os._Environ[str]):
        def __getitem__(self, key: str) -> str:
            record(f"the variable {key} of the environment")
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[str]:
            record("the environment")
            return super().__iter__()

    sys.addaudithook(hook)
    os.environ.__class__ = Environment


def main(url: str) -> None:
    """Run all revisions under all conditions, and print the result."""
    runs: dict[str, Statements] = {}
    forbidden: list[str] = []
    watch(forbidden)
    for seed, moment in enumerate(MOMENTS):
        random.seed(seed)
        # A number, since a datetime with a time zone would replace that of the environment.
        with time_machine.travel(moment.timestamp()):
            runs[f"offline, at {moment}"] = offline()
    with time_machine.travel(MOMENTS[0].timestamp()):
        runs[f"online, at {MOMENTS[0]}"] = online(url)
    print(json.dumps({"runs": runs, "forbidden": forbidden}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
