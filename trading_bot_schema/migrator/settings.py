"""Timeouts, limits and guards of a migration."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from alembic.util import CommandError

# The longest time that PostgreSQL's settings can hold, 24 days.
INT_MAX = 2**31 - 1
UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}


def milliseconds(name: str, value: str) -> int:
    """Parse a time with a unit, such as ``10s``."""
    if value == "0":
        return 0
    match = re.fullmatch(r"([0-9]{1,5})(ms|s|min|h)", value)
    if match is None or int(match[1]) * UNITS[match[2]] > INT_MAX:
        raise CommandError(
            f"{name} is {value!r}, but should be a time with a unit, such as 500ms, 10s, 2min, 1h."
        )
    return int(match[1]) * UNITS[match[2]]


def positive_integer(name: str, value: str) -> int:
    """Parse a number from 1."""
    if value.isascii() and value.isdigit() and int(value) > 0:
        return int(value)
    raise CommandError(f"{name} is {value!r}, but should be a number from 1, such as 5.")


def choice(*choices: str) -> Callable[[str, str], str]:
    """Make a parser of one of some words."""

    def parse(name: str, value: str) -> str:
        if value in choices:
            return value
        raise CommandError(f"{name} is {value!r}, but should be {' or '.join(choices)}.")

    return parse


def identifier(name: str, value: str) -> str:
    """Parse the name of a role: as it is, without quotation marks."""
    if value:
        return value
    raise CommandError(f"{name} is empty, but should be the name of a role.")


def setting(default: Any, parse: Callable[[str, str], Any]) -> Any:
    """Define a setting by its default and the parser of its text."""
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """Timeouts, limits and guards. Times are in milliseconds."""

    lock_timeout: int = setting(5_000, milliseconds)
    """Longest wait for a lock on a table, during which others queue up behind; 0: no limit."""
    lock_attempts: int = setting(5, positive_integer)
    """How often a revision is tried that does not get its locks."""
    statement_timeout: int = setting(0, milliseconds)
    """Longest time that one statement may take; 0: no limit."""
    wait_timeout: int = setting(600_000, milliseconds)
    """Longest wait for another migrator to finish."""
    connect_wait: int = setting(30_000, milliseconds)
    """Longest wait for a server that is starting, full, or does not listen; 0: none."""
    role: str | None = setting(None, identifier)
    """Role to migrate as, where the one that connects is a member of the owner."""
    ahead: str = setting("refuse", choice("refuse", "accept"))
    """What ``upgrade head`` does where a newer version of the code has migrated the database."""
    lose: str = setting("warn", choice("warn", "refuse"))
    """What a downgrade does that loses rows."""

    @classmethod
    def read(cls, arguments: Mapping[str, str], environment: Mapping[str, str]) -> Self:
        """Read ``-x lock_timeout=10s``, else ``MIGRATION_LOCK_TIMEOUT=10s``, and so on.

        Raises:
            CommandError: A value is malformed or an argument unknown.
        """
        known = {field.name: field.metadata["parse"] for field in fields(cls)}
        if unknown := sorted(arguments.keys() - known.keys()):
            raise CommandError(f"-x {unknown[0]} is not a setting. There are: {', '.join(known)}.")
        values = {}
        for name, parse in known.items():
            variable = f"MIGRATION_{name.upper()}"
            if name in arguments:
                values[name] = parse(f"-x {name}", arguments[name])
            elif variable in environment:
                values[name] = parse(variable, environment[variable])
        return cls(**values)
