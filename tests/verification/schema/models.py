"""The tables of the library, and Alembic's options to compare a database with them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Index, Table, event, text
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "include_schemas": True,
    # The partitions of a table are not tables of the models.
    "include_name": lambda name, kind, _: kind != "table" or not name.startswith("visit_"),
    "compare_server_default": True,
    "transaction_per_migration": True,
}
NOW = sa.func.now()
Moment = sa.DateTime(timezone=True)
BookFormat = sa.Enum("paper", "audio", "electronic", name="book_format", metadata=metadata)
Isbn = pg.DOMAIN(
    "isbn", sa.Text(), check="VALUE ~ '^97[89][0-9]{10}$'", constraint_name="isbn_digits"
)


def uuid_key() -> Column[Any]:
    """Return a column ``id`` that PostgreSQL generates."""
    return Column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid())


country = Table(
    "country",
    metadata,
    Column("code", sa.String(2), primary_key=True),
    Column("name", sa.Text, nullable=False, unique=True),
    sa.CheckConstraint("code ~ '^[A-Z]{2}$'", name="code_letters"),
)
author = Table(
    "author",
    metadata,
    uuid_key(),
    Column("name", sa.Text, nullable=False, comment="As on the cover."),
    Column("born", sa.Date),
    Column("country_code", ForeignKey("country.code")),
    comment="Who writes books.",
)
book = Table(
    "book",
    metadata,
    uuid_key(),
    Column("isbn", Isbn, unique=True),
    Column("title", sa.String(200), nullable=False),
    Column("sort_title", sa.Text, sa.Computed("lower(title)", persisted=True)),
    Column("format", BookFormat, nullable=False, server_default=text("'paper'")),
    Column("pages", sa.Integer),
    Column("price", sa.Numeric(8, 2), nullable=False),
    Column("keywords", pg.TSVECTOR),
    sa.CheckConstraint("pages > 0", name="pages_positive"),
    sa.CheckConstraint("price > 0", name="price_positive"),
    Index("ix_book_sort_title", "sort_title"),
    Index("ix_book_search", text("to_tsvector('simple', title)"), postgresql_using="gin"),
)
authorship = Table(
    "authorship",
    metadata,
    Column("book_id", ForeignKey("book.id", ondelete="CASCADE"), primary_key=True),
    Column("author_id", ForeignKey("author.id"), primary_key=True, index=True),
    Column("position", sa.SmallInteger, nullable=False),
    sa.UniqueConstraint("book_id", "position"),
)
user = Table(
    "user",
    metadata,
    Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    Column("email", sa.String(320), nullable=False, unique=True),
    Column("name", sa.Text, nullable=False),
    Column("referred_by", ForeignKey("user.id", ondelete="SET NULL")),
    Column("joined_at", Moment, nullable=False, server_default=NOW),
    sa.CheckConstraint("email ~ '^[^@ ]+@[^@ ]+$'", name="email_form"),
)
branch = Table(
    "branch",
    metadata,
    Column("id", sa.SmallInteger, sa.Identity(), primary_key=True),
    Column("name", sa.Text, nullable=False, unique=True),
    Column("main_id", ForeignKey("branch.id"), nullable=False, comment="The main one: itself."),
    Column("manager_id", sa.Integer, nullable=False),
    ForeignKeyConstraint(
        ["manager_id"], ["staff.id"], use_alter=True, deferrable=True, initially="DEFERRED"
    ),
)
staff = Table(
    "staff",
    metadata,
    Column("id", sa.Integer, sa.Identity(), primary_key=True),
    Column("branch_id", ForeignKey("branch.id"), nullable=False),
    Column("name", sa.Text, nullable=False),
    Column("nickname", sa.String(50)),
    Column("wage", sa.Numeric(8, 2), nullable=False),
    sa.CheckConstraint("wage > 0", name="wage_positive"),
)
suggestion = Table(
    "suggestion",
    metadata,
    Column("title", sa.Text),
    Column("wishes", pg.JSONB),
    Column("tags", pg.ARRAY(sa.Text)),
    Column("sender", pg.INET),
    Column("patience", pg.INTERVAL),
    Column("day", sa.Date),
    Column("hour", sa.Time),
    Column("scan", sa.LargeBinary),
    Column("years", pg.INT4RANGE),
    Column("urgency", sa.Double),
)

copy = Table(
    "copy",
    metadata,
    Column("book_id", ForeignKey("book.id"), primary_key=True),
    Column("number", sa.SmallInteger, primary_key=True),
    Column("branch_id", ForeignKey("branch.id"), nullable=False),
    Column("loan_id", sa.BigInteger, unique=True, comment="NULL: not lent."),
    ForeignKeyConstraint(["loan_id"], ["lending.loan.id"], use_alter=True, ondelete="SET NULL"),
    schema="lending",
)
loan = Table(
    "loan",
    metadata,
    Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    Column("book_id", sa.Uuid, nullable=False),
    Column("number", sa.SmallInteger, nullable=False),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    Column("lent_at", Moment, nullable=False, server_default=NOW),
    Column("returned_at", Moment),
    Column("note", sa.Text),
    ForeignKeyConstraint(["book_id", "number"], ["lending.copy.book_id", "lending.copy.number"]),
    sa.CheckConstraint("returned_at >= lent_at", name="returned_later"),
    sa.CheckConstraint("note <> ''", name="note_not_empty"),
    Index(None, "user_id", "lent_at"),
    Index(
        "uq_loan_open",
        "book_id",
        "number",
        unique=True,
        postgresql_where=text("returned_at IS NULL"),
    ),
    schema="lending",
)
fee = Table(
    "fee",
    metadata,
    Column("code", sa.Text, primary_key=True),
    Column("amount", sa.Numeric(8, 2), nullable=False),
    schema="lending",
)
visit = Table(
    "visit",
    metadata,
    Column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
    Column("visited_at", Moment, primary_key=True, server_default=NOW),
    Column("branch_id", ForeignKey("branch.id"), nullable=False),
    schema="lending",
    postgresql_partition_by="RANGE (visited_at)",
)
payment = Table(
    "payment",
    metadata,
    uuid_key(),
    Column("user_id", ForeignKey("user.id"), nullable=False, index=True),
    Column("amount", sa.Numeric(12, 2), nullable=False),
    Column("paid_at", Moment, nullable=False, server_default=NOW),
    sa.CheckConstraint("amount > 0", name="amount_positive"),
    schema="lending",
)


@event.listens_for(metadata, "before_create")
def _create_schema(_: object, connection: sa.Connection, **__: object) -> None:
    connection.execute(text("CREATE SCHEMA lending"))


@event.listens_for(metadata, "after_create")
def _create_what_metadata_cannot_describe(
    _: object, connection: sa.Connection, **__: object
) -> None:
    for statement in (
        "CREATE VIEW lending.open_loan AS"
        " SELECT id, book_id, number, user_id FROM lending.loan WHERE returned_at IS NULL",
        "CREATE TABLE lending.visit_2026 PARTITION OF lending.visit"
        " FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00')",
        "CREATE TABLE lending.visit_other PARTITION OF lending.visit DEFAULT",
        "CREATE FUNCTION lending.refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS $$BEGIN RAISE EXCEPTION 'payments are only added'; END$$",
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON lending.payment"
        " FOR EACH ROW EXECUTE FUNCTION lending.refuse()",
    ):
        connection.execute(text(statement))
