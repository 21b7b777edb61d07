<%!
import re


def docstring(message):
    """Return the message as the beginning of a docstring, which quotation marks would end."""
    text = " ".join(message.replace('"', "'").split()).rstrip(".")
    if text in ("", "empty message"):  # Alembic's, without -m
        text = "TODO: what it does"
    raw = "r" if "\\" in text else ""
    return f'{raw}"""{text[0].upper()}{text[1:]}.'


def body(code):
    """Return the drafted code, without Alembic's comments, with each name given by op.f()."""
    code = re.sub(r"[^\S\n]*# ###.*###$\n?", "", code, flags=re.MULTILINE)
    code = re.sub(r"(op\.(?:create|drop)_(?:index|\w*constraint)\()('\w+')", r"\1op.f(\2)", code)
    return re.sub(r"(Constraint\(.*\bname=)('\w+')", r"\1op.f(\2)", code).strip() or "pass"
%>\
${docstring(message)}

Why: TODO: why the application needs this.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply it."""
    ${body(upgrades or "")}


def downgrade() -> None:
    """Undo it."""
    ${body(downgrades or "")}
