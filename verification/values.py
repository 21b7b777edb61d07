"""Values that a column's type and CHECKs may allow, and that are easily lost.

They include the longest text, text that differs only in case or in a trailing space, the extremes
of a number and the smallest step beside them, each literal in a CHECK or a revision, texts that
match a regular expression, NULL, times around a change of clocks.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from functools import cache
from itertools import islice, product
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any
from uuid import UUID

# In the hours that a clock repeats in autumn and skips in spring, and around other boundaries.
MOMENTS = [
    *(datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)),  # Europe
    *(datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)),  # New York
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    datetime(2026, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
]
# Values for other types, such as UUID, bytea, inet and arrays. Each type accepts some of them.
OF_ANY_TYPE: list[Any] = [
    *("00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *("\\x", "\\xff00", "1 mon -1 day 00:00:00.000001", "23:59:59.999999", "00:00", "1"),
    *("10.0.0.1", "2001:db8::1", "[1,2)", "[2026-01-01,2026-01-02)", "(1,2)"),
    *({"a": 1.10, "é": [None, "x"]}, [], ["a", None, ""], [1, None, 0], {}),
]
MOMENT = r"-?infinity$|\d{4}-\d\d-\d\d"
"""The beginning of a date or a time in a literal."""
FIRST_KEY = 1001
"""Keys start above those of the rows by hand, so that a database can have both."""
INTEGERS = {"int2": 15, "int4": 31, "int8": 63}
TYPICAL = 10
"""The first number that is tried: an extreme one overflows where a revision calculates with it."""
TEXT_LENGTH = 10_000
"""Characters of a long text in a column without a limit."""


@dataclass(frozen=True)
class Column:
    """A column of a table; its type, or that of its domain.

    Attributes:
        checks: The definitions of its CHECKs.
    """

    name: str
    type: str
    is_text: bool
    modifier: int
    not_null: bool
    labels: Sequence[str]
    checks: str = ""

    @property
    def longest(self) -> int:
        """The number of characters of a text."""
        return self.modifier - 4 if self.modifier >= 4 else TEXT_LENGTH


@dataclass(frozen=True)
class Literals:
    """Literals in CHECKs and revisions."""

    texts: Sequence[str]
    numbers: Sequence[Decimal]


def strings(code: str) -> set[str]:
    """Return the strings in single quotes."""
    return {text.replace("''", "'") for text in re.findall(r"'((?:[^'\n]|'')*)'", code)}


def literals(checks: str, others: Iterable[str] = ()) -> Literals:
    """Return the strings and numbers of CHECKs, and other strings."""
    return Literals(
        sorted(strings(checks).union(others)),
        sorted({Decimal(number) for number in re.findall(r"\b\d+\.?\d*", checks)}),
    )


def of_literals(column: Column, texts: Iterable[str]) -> list[Any]:
    """Return values that a condition with these literals may look for."""
    found: list[Any] = sorted(texts)
    if column.labels:
        return [text for text in found if text in column.labels]
    if column.type == "bool":
        return [True, False]
    if column.type in ("json", "jsonb"):
        return [dict.fromkeys(found, value) for value in (1, 2**63, "a") if found]
    if column.type in ("timestamptz", "timestamp", "date"):
        return [*_around(found)]
    if column.type == "uuid":
        return [text for text in found if re.fullmatch(r"[0-9a-f-]{36}", text)]
    return [text for text in found if len(text) <= column.longest] if column.is_text else []


def _around(texts: Iterable[str]) -> Iterator[date]:
    """Yield the days in texts, and those before and after them."""
    for text in texts:
        with suppress(ValueError):
            day = date.fromisoformat(text[:10])
            yield from (day + timedelta(days=step) for step in (-1, 0, 1))


def values(column: Column, typical: Any, literals: Literals) -> Iterator[Any]:
    """Yield candidate values of a column, some of which its type or CHECKs reject."""
    if column.is_text:
        longest = column.longest
        yield from (*islice(matching(column), 3), "a", "A", "a ")
        yield from ("x" * longest, "x" * (longest - 1) + "y", "é" * longest)
        yield from ("", " ", "\t", "ß", "e\u0301", "\u00e9", "İ", "0", "NULL")
        if isinstance(typical, str):
            yield from (typical.upper(), typical.lower(), f"{typical} ")
        yield from (text for text in literals.texts if len(text) <= longest)
    elif column.type in INTEGERS:
        maximum = 2 ** INTEGERS[column.type] - 1
        steps = {int(number) + step for number in literals.numbers for step in (-1, 0, 1)}
        yield TYPICAL
        yield from sorted(
            {-maximum - 1, -1, 0, 1, 2, maximum, *(n for n in steps if abs(n) <= maximum)}
        )
    elif column.type == "numeric":
        yield from _decimals(column, typical, literals.numbers)
    elif column.type == "bool":
        yield from (True, False)
    elif column.type in ("timestamptz", "timestamp", "date"):
        yield from (text for text in literals.texts if re.match(MOMENT, text))
        yield from _around(literals.texts)
        if column.type == "date":
            yield from (date(2024, 2, 29), date(2026, 12, 31), date(1970, 1, 1))
            return
        zone = UTC if column.type == "timestamptz" else None
        for moment in (*MOMENTS, MOMENTS[0] + timedelta(microseconds=1)):
            yield moment.replace(tzinfo=zone)
    elif column.type in ("float4", "float8"):
        yield from (0.1, -0.0, 1e300 if column.type == "float8" else 1e30, 1 / 3)
    else:
        yield from column.labels or [*OF_ANY_TYPE, *literals.texts]


def _decimals(column: Column, typical: Any, numbers: Sequence[Decimal]) -> Iterator[Decimal]:
    scale = (column.modifier - 4) & 0x7FF if column.modifier >= 4 else 20
    figures = (column.modifier - 4) >> 16 if column.modifier >= 4 else 40
    step = Decimal((0, (1,), -scale))
    maximum = Decimal((0, (9,) * figures, -scale))
    near = {*numbers, Decimal(0), Decimal("0.5"), Decimal("1.5"), Decimal("2.5")}
    if isinstance(typical, Decimal) and typical < maximum:
        near.add(typical)
    yield from (Decimal(TYPICAL), maximum, maximum.copy_negate(), step, step.copy_negate())
    with localcontext(Context(prec=100)):
        yield from sorted({value for number in near for value in (number, number + step)})


def distinct(column: Column, numbers: range) -> Iterator[Any]:
    """Yield different values for a unique key, some of which its type or CHECKs reject."""
    if column.is_text:
        first, last = numbers.start - FIRST_KEY, numbers.stop - FIRST_KEY
        if any(matching(column)):
            yield from islice(matching(column), first, last)
            return
    for n in numbers:
        if column.is_text:
            yield from (t for t in (f"row-{n}", _base36(n)) if len(t) <= column.longest)
        elif column.type in INTEGERS or column.type in ("numeric", "float4", "float8"):
            yield n
        elif column.type in ("timestamptz", "timestamp", "date"):
            step = timedelta(days=n) if column.type == "date" else timedelta(seconds=n)
            yield (MOMENTS[-1] + step).replace(tzinfo=None if column.type == "timestamp" else UTC)
        elif column.type == "bool" or column.labels:
            yield from column.labels or (True, False)
            return
        else:
            yield _of_other_type(column.type, n)


def _of_other_type(kind: str, n: int) -> str:
    day = MOMENTS[-1].date() + timedelta(days=n)
    match kind:
        case "uuid":
            return str(UUID(int=n))
        case "bytea":
            return f"\\x{n:08x}"
        case "inet" | "cidr":
            return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        case "interval":
            return f"{n} seconds"
        case "time" | "timetz":
            return f"{n // 3600 % 24}:{n // 60 % 60}:{n % 60}"
        case "daterange" | "tsrange" | "tstzrange":
            return f"[{day},{day + timedelta(days=1)})"
        case _ if kind.endswith("range"):
            return f"[{n},{n + 1})"
        case _:
            return f"{{{n}}}" if kind.startswith("_") else str(n)


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = (digits + ascii_lowercase)[digit] + text
    return text


def matching(column: Column) -> Iterator[str]:
    """Yield different texts that match the patterns in a column's CHECKs."""
    for operator, pattern in re.findall(r"(?<!!)(~~?)\*? '((?:[^']|'')*)'", column.checks):
        if operator == "~~":  # LIKE
            parts = re.split(r"(\\?[%_])", pattern)
            wild = {"%": ".{0,12}", "_": "."}
            pattern = "".join(wild.get(part) or re.escape(part) for part in parts) + "$"
        yield from _variants(pattern.replace("''", "'"), column.longest)


def _variants(pattern: str, longest: int) -> Iterator[str]:
    """Yield texts that match a regular expression: one, and others with other letters in it."""
    text = _example(pattern)
    if text is None:
        return
    others = digits + ascii_uppercase + ascii_lowercase
    fitting = [
        [
            c
            for c in dict.fromkeys(own + others)
            if re.search(pattern, text[:i] + c + text[i + 1 :])
        ]
        for i, own in enumerate(text)
    ]
    for letters in product(*fitting):
        variant = "".join(letters)
        if len(variant) <= longest and re.search(pattern, variant):
            yield variant


@cache
def _example(pattern: str) -> str | None:
    # Takes half a second, and few schemas need it.
    from hypothesis import Phase, find, settings
    from hypothesis.errors import HypothesisException
    from hypothesis.strategies import characters, from_regex

    first = settings(database=None, derandomize=True, phases=[Phase.generate])
    printable = characters(min_codepoint=0x21, max_codepoint=0x7E)
    # The longer one has more others like it. PostgreSQL's expressions are not all Python's.
    for shape in (".{6,}", ".+"):
        with suppress(HypothesisException, re.error):
            texts = from_regex(re.sub(r"\$$", r"\\Z", pattern), alphabet=printable)
            return find(texts.filter(re.compile(shape).fullmatch), bool, settings=first)
    return None
