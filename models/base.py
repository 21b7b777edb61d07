"""What every model shares: the declarative base, its naming convention, the column types."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    DateTime,
    Dialect,
    Identity,
    Integer,
    MetaData,
    Numeric,
    TypeDecorator,
    func,
    inspect,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
"""Names of all constraints and indexes; the migrations spell the same names out."""

IntPK = Annotated[int, mapped_column(Integer, Identity(), primary_key=True)]
"""A surrogate key that PostgreSQL numbers."""

Money = Annotated[Decimal, mapped_column(Numeric(38, 18))]
"""A price, quantity or amount, exact.

Binance sends amounts as 64-bit mantissas (19 digits), in practice with 8 decimals; an average
fill price needs more decimals than that, and price times quantity needs 16. PostgreSQL stores the
digits that are used. Python's decimal arithmetic rounds to 28 digits, a minus sign included,
unless :func:`decimal.getcontext` is told otherwise.
"""

Percent = Annotated[Decimal, mapped_column(Numeric(12, 6))]
"""A percentage in percent: 2.5 means 2.5 %."""


class AwareDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that refuses a datetime without a time zone.

    asyncpg takes such a datetime for one in the time zone of the process: 00:30 of a process in
    Istanbul would be stored as 21:30 UTC of the day before. A date is refused too: it is a naive
    midnight.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raise :class:`ValueError`, which SQLAlchemy wraps into a ``StatementError``."""
        if isinstance(value, date) and getattr(value, "utcoffset", lambda: None)() is None:
            # Neither colon nor quotation mark: trading_bot_schema.redaction would cut it there.
            raise ValueError(
                "naive datetime, which has no time zone; make it aware, as datetime.now(UTC) is,"
                " or with value.replace(tzinfo=UTC) if UTC is what it means"
            )
        return value

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        """Let a duration be added and subtracted."""
        compared = self.impl_instance.coerce_compared_value(op, value)
        return self if isinstance(compared, DateTime) else compared


Timestamp = Annotated[datetime, mapped_column(AwareDateTime)]
"""A moment in time; aware on the way in and on the way out."""


class Base(DeclarativeBase):
    """Declarative base of all models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)

    # Fetch server-made values with RETURNING, on UPDATE as well: an attribute that is left
    # expired would be loaded on access, which fails under asyncio.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - declared by SQLAlchemy

    __repr_columns__: ClassVar[tuple[str, ...]] = ("id",)
    """Columns that ``repr`` shows. Never a secret, and nothing about a person."""

    def __repr__(self) -> str:
        # From what is loaded already: a repr must not emit SQL, nor fail on a detached object.
        loaded = inspect(self).dict
        shown = (f"{name}={loaded[name]!r}" for name in self.__repr_columns__ if name in loaded)
        return f"{type(self).__name__}({', '.join(shown)})"


class CreatedUpdated:
    """Mixin: when a row was made, and when it last changed through the ORM."""

    created_at: Mapped[Timestamp] = mapped_column(
        default=func.now(),
        server_default=func.now(),
        sort_order=100,
        comment="When the row was made.",
    )
    updated_at: Mapped[Timestamp] = mapped_column(
        default=func.now(),
        server_default=func.now(),
        onupdate=func.now(),
        sort_order=101,
        comment="When the application last changed the row. Raw SQL has to set it itself.",
    )
