"""CHECK constraints that several tables use.

Each takes the column's name and is named after it and the rule. The NaN rules are not pedantry:
``numeric`` stores NaN, and PostgreSQL sorts NaN above every number, so ``NaN >= 0`` is true
(PostgreSQL docs, "Numeric Types"). Infinity needs no rule: a ``numeric`` with a precision
refuses it.
"""

from enum import StrEnum

from sqlalchemy import CheckConstraint


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Accept the members of an enum only."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def upper_case(column: str) -> CheckConstraint:
    """Accept any word in upper case, such as ``STOP_LOSS``: a set of values that may grow."""
    return CheckConstraint(f"{column} ~ '^[A-Z][A-Z0-9_]*$'", name=f"{column}_upper_case")


def not_empty(column: str) -> CheckConstraint:
    """Refuse the empty string."""
    return CheckConstraint(f"{column} <> ''", name=f"{column}_not_empty")


def not_nan(column: str) -> CheckConstraint:
    """Accept any number, negative ones too, but not NaN."""
    return CheckConstraint(f"{column} <> 'NaN'", name=f"{column}_not_nan")


def non_negative(column: str) -> CheckConstraint:
    """Accept a ``numeric`` from 0 up, but not NaN."""
    return CheckConstraint(
        f"{column} >= 0 AND {column} <> 'NaN'",
        name=f"{column}_non_negative",
    )


def at_least(column: str, minimum: int) -> CheckConstraint:
    """Accept an integer from ``minimum`` up."""
    return CheckConstraint(f"{column} >= {minimum}", name=f"{column}_at_least_{minimum}")


def percentage(column: str) -> CheckConstraint:
    """Accept 0 to 100 percent; NaN is above 100."""
    return CheckConstraint(f"{column} BETWEEN 0 AND 100", name=f"{column}_percentage")
