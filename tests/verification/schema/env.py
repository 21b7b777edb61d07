"""Alembic's environment of the library: through the migrator, like the one of the project."""

import os
from functools import partial

from alembic import context

from tests.verification.schema.models import OPTIONS
from trading_bot_schema import migrator
from trading_bot_schema.configuration import configured_target

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    migrator.run_migrations()
else:
    migrator.run_online(
        partial(context.configure, **OPTIONS),
        migrator.Settings.read(context.get_x_argument(as_dictionary=True), os.environ),
        partial(configured_target, context.config),
    )
