"""CHECK constraints that several tables use.

Each takes the column's name and is named after the column and the rule. NaN needs its own rule:
``numeric`` stores NaN, and PostgreSQL sorts NaN above every number, so ``NaN >= 0`` is true
(PostgreSQL docs, "Numeric Types"). Infinity needs none: a ``numeric`` with a precision rejects it.
"""

from enum import StrEnum

from sqlalchemy import CheckConstraint


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Accept the members of an enum only."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def upper_case(column: str) -> CheckConstraint:
    """Accept any word in upper case, such as ``STOP_LOSS``: an open set of values."""
    return CheckConstraint(f"{column} ~ '^[A-Z][A-Z0-9_]*$'", name=f"{column}_upper_case")


def not_empty(column: str) -> CheckConstraint:
    """Reject the empty string."""
    return CheckConstraint(f"{column} <> ''", name=f"{column}_not_empty")


def not_nan(column: str) -> CheckConstraint:
    """Accept any number, negative ones included, but not NaN."""
    return CheckConstraint(f"{column} <> 'NaN'", name=f"{column}_not_nan")


def non_negative(column: str) -> CheckConstraint:
    """Accept a ``numeric`` of at least 0, but not NaN."""
    return CheckConstraint(
        f"{column} >= 0 AND {column} <> 'NaN'",
        name=f"{column}_non_negative",
    )


def at_least(column: str, minimum: int) -> CheckConstraint:
    """Accept an integer of at least ``minimum``."""
    return CheckConstraint(f"{column} >= {minimum}", name=f"{column}_at_least_{minimum}")


def percentage(column: str) -> CheckConstraint:
    """Accept 0 to 100 percent. NaN sorts above 100, so it is rejected."""
    return CheckConstraint(f"{column} BETWEEN 0 AND 100", name=f"{column}_percentage")
