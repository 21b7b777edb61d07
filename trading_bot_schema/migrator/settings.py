"""Timeouts, limits and guards of a migration."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from alembic.util import CommandError

# The maximum of PostgreSQL's settings in milliseconds, 24 days.
INT_MAX = 2**31 - 1
UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}


def milliseconds(value: str) -> int | None:
    """Parse a time with a unit, such as ``10s``; return None if it is malformed."""
    match = re.fullmatch(r"([0-9]{1,5})(ms|s|min|h)", "0s" if value == "0" else value)
    time = int(match[1]) * UNITS[match[2]] if match else INT_MAX + 1
    return time if time <= INT_MAX else None


def positive_integer(value: str) -> int | None:
    """Parse a number; return None if it is not at least 1."""
    return int(value) or None if value.isascii() and value.isdigit() else None


def choice(*choices: str) -> tuple[Callable[[str], str | None], str]:
    """Return a parser that accepts one of the choices, and their description."""
    return {each: each for each in choices}.get, " or ".join(choices)


TIME = (milliseconds, "a time with a unit, such as 500ms, 10s, 2min, 1h")


def setting(
    default: Any, form: tuple[Callable[[str], Any], str], *, of_revision: bool = True
) -> Any:
    """Define a setting: its default, its parser and form, and whether a revision may set it."""
    convert, description = form

    def parse(name: str, value: str) -> Any:
        parsed = convert(value)
        if parsed is None:
            given = repr(value) if value else "empty"
            raise CommandError(f"{name} is {given}, but should be {description}.")
        return parsed

    return field(default=default, metadata={"parse": parse, "of_revision": of_revision})


@dataclass(frozen=True)
class Settings:
    """Timeouts, limits and guards. Times are in milliseconds.

    Attributes:
        lock_timeout: Longest wait for a lock on a table, during which queries queue behind it; 0:
            no limit.
        concurrent_lock_timeout: The same for statements behind which no query queues, as CREATE
            INDEX CONCURRENTLY.
        lock_attempts: Number of attempts of a revision that does not get its locks.
        hold_timeout: Longest that a transaction may block reads or writes of an existing table; 0:
            no limit.
        statement_timeout: Longest time that one statement may take; 0: no limit.
        wait_timeout: Longest wait for another migrator to finish.
        contract: What an upgrade does before a revision that breaks the code of the previous one.
        connect_wait: Longest wait for a server that is starting, full, or does not listen; 0:
            none.
        role: Role to migrate as, if the role that connects is a member of the owner.
        ahead: What ``upgrade head`` does if a newer version of the code has migrated the database.
        lose: Whether a downgrade that loses rows is refused or warned of.
        log: Format of the lines on stderr: text, or a JSON object each.
        given: Names of the settings given with ``-x``, which no revision replaces.
    """

    lock_timeout: int = setting(500, TIME)
    concurrent_lock_timeout: int = setting(0, TIME)
    lock_attempts: int = setting(12, (positive_integer, "a number from 1, such as 5"))
    hold_timeout: int = setting(10_000, TIME)
    statement_timeout: int = setting(0, TIME)
    wait_timeout: int = setting(600_000, TIME, of_revision=False)
    contract: str = setting("warn", choice("warn", "refuse"), of_revision=False)
    connect_wait: int = setting(30_000, TIME, of_revision=False)
    role: str | None = setting(
        None, (lambda value: value or None, "the name of a role"), of_revision=False
    )
    ahead: str = setting("refuse", choice("refuse", "accept"), of_revision=False)
    lose: str = setting("warn", choice("warn", "refuse"), of_revision=False)
    log: str = setting("text", choice("text", "json"), of_revision=False)
    given: frozenset[str] = frozenset()

    @classmethod
    def read(cls, arguments: Mapping[str, str], environment: Mapping[str, str]) -> Self:
        """Read ``-x lock_timeout=10s``, else ``MIGRATION_LOCK_TIMEOUT=10s``, and so on.

        Raises:
            CommandError: A value is malformed or an argument unknown.
        """
        parsers = {field.name: field.metadata["parse"] for field in fields(cls) if field.metadata}
        if unknown := sorted(arguments.keys() - parsers.keys()):
            raise CommandError(
                f"-x {unknown[0]} is not a setting. Settings are: {', '.join(parsers)}."
            )
        values = {}
        for name, parse in parsers.items():
            variable = f"MIGRATION_{name.upper()}"
            if name in arguments:
                values[name] = parse(f"-x {name}", arguments[name])
            elif variable in environment:
                values[name] = parse(variable, environment[variable])
        return cls(**values, given=frozenset(arguments))

    def for_revision(self, timeouts: object) -> Self:
        """Return the settings for a revision that has ``timeouts = {"hold_timeout": "1min"}``.

        ``-x`` takes precedence, then the revision, then the environment.

        Raises:
            CommandError: It is not such a mapping, or a value is malformed.
        """
        parsers = {
            field.name: field.metadata["parse"]
            for field in fields(self)
            if field.metadata.get("of_revision")
        }
        if not isinstance(timeouts, Mapping) or not parsers.keys() >= timeouts.keys():
            raise CommandError(
                f"timeouts is {timeouts!r}, but should be a mapping of names to values, such as"
                ' {"lock_timeout": "10s"}. '
                f"Names are: {', '.join(parsers)}."
            )
        values = {
            name: parsers[name](f"{name} in timeouts", str(value))
            for name, value in timeouts.items()
        }
        return replace(self, **{name: values[name] for name in values.keys() - self.given})
