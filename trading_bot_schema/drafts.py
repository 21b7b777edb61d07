"""What ``alembic revision --autogenerate`` drafts for the types of the models."""

from typing import Any, Literal

import sqlalchemy
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import TypeDecorator


def render_type(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Draft a type as the database has it: a revision imports nothing of the models.

    For the option ``render_item`` of :func:`alembic.context.configure`.
    """
    if kind != "type" or type(item).__module__.startswith("sqlalchemy."):
        return False  # Alembic drafts it.
    if isinstance(item, TypeDecorator):
        item = item.load_dialect_impl(context.dialect)
        return render_type(kind, item, context) or _of_sqlalchemy(item, context)
    name, sql = type(item).__name__, item.compile(dialect=context.dialect)
    return f'type("{name}", (sa.types.UserDefinedType,), {{"get_col_spec": lambda _: {sql!r}}})()'


def _of_sqlalchemy(item: Any, context: AutogenContext) -> str:
    if rendered := context.migration_context.impl.render_type(item, context):
        return rendered
    if hasattr(sqlalchemy, type(item).__name__):
        return f"sa.{item!r}"
    context.imports.add("from sqlalchemy.dialects import postgresql")
    return f"postgresql.{item!r}"
