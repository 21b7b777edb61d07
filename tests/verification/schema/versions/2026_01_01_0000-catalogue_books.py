"""Create the catalogue of books.

Why: readers look for books and their authors.
Locks: none. The tables are new.
Old code: works.
Downgrade: loses country, author, book, authorship.

Revision ID: catalogue
Revises:
Create Date: 2026-01-01 00:00:00+00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "catalogue"
down_revision = None


def upgrade() -> None:
    """Create the types and four tables, and the countries that the form offers."""
    op.execute(
        "CREATE DOMAIN isbn AS text CONSTRAINT isbn_digits CHECK (VALUE ~ '^97[89][0-9]{10}$')"
    )
    op.execute("CREATE TYPE book_format AS ENUM ('paper', 'audio', 'electronic')")
    country = op.create_table(
        "country",
        sa.Column("code", sa.String(2), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_country")),
        sa.UniqueConstraint("name", name=op.f("uq_country_name")),
        sa.CheckConstraint("code ~ '^[A-Z]{2}$'", name=op.f("ck_country_code_letters")),
    )
    op.bulk_insert(country, [{"code": "TR", "name": "Türkiye"}, {"code": "JP", "name": "Japan"}])
    op.create_table(
        "author",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("name", sa.Text(), nullable=False, comment="As on the cover."),
        sa.Column("born", sa.Date()),
        sa.Column("country_code", sa.String(2)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_author")),
        sa.ForeignKeyConstraint(
            ["country_code"], ["country.code"], name=op.f("fk_author_country_code")
        ),
        comment="Who writes books.",
    )
    op.create_table(
        "book",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("isbn", pg.DOMAIN("isbn", sa.Text(), create_type=False)),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("sort_title", sa.Text(), sa.Computed("lower(title)", persisted=True)),
        sa.Column(
            "format",
            pg.ENUM(name="book_format", create_type=False),
            nullable=False,
            server_default=sa.text("'paper'"),
        ),
        sa.Column("pages", sa.Integer()),
        sa.Column("price", sa.Numeric(8, 2), nullable=False),
        sa.Column("keywords", pg.TSVECTOR()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_book")),
        sa.UniqueConstraint("isbn", name=op.f("uq_book_isbn")),
        sa.CheckConstraint("pages > 0", name=op.f("ck_book_pages_positive")),
        sa.CheckConstraint("price > 0", name=op.f("ck_book_price_positive")),
    )
    op.create_table(
        "authorship",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("book_id", "author_id", name=op.f("pk_authorship")),
        sa.UniqueConstraint("book_id", "position", name=op.f("uq_authorship_book_id_position")),
        sa.ForeignKeyConstraint(
            ["book_id"], ["book.id"], name=op.f("fk_authorship_book_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["author.id"], name=op.f("fk_authorship_author_id")
        ),
    )
    op.create_index(op.f("ix_authorship_author_id"), "authorship", ["author_id"])
    op.create_index(op.f("ix_book_sort_title"), "book", ["sort_title"])


def downgrade() -> None:
    """Drop the tables and the types."""
    for table in ("authorship", "book", "author", "country"):
        op.drop_table(table)
    op.execute("DROP TYPE book_format")
    op.execute("DROP DOMAIN isbn")
