"""Alembic's environment of the library: through the migrator, like the one of the project."""

import os
from contextlib import AbstractContextManager, nullcontext

from alembic import context
from sqlalchemy import Connection

from tests.verification.schema.models import OPTIONS
from trading_bot_schema import migrator
from trading_bot_schema.configuration import configured_target


def run_migrations() -> None:
    """Run the migrations of the command."""
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    run_migrations()
else:
    settings = migrator.Settings.read(context.get_x_argument(as_dictionary=True), os.environ)
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        opened: AbstractContextManager[Connection] = nullcontext(given)
    elif given:
        opened = given.connect()
    else:
        opened = migrator.connect(configured_target(context.config), settings)
    with opened as connection:
        context.configure(connection=connection, **OPTIONS)
        plan = migrator.Plan(context.get_context(), context.script, settings)
        context.configure(connection=connection, **OPTIONS, **plan.options)
        migrator.run_for_caller(connection, plan, run_migrations)
