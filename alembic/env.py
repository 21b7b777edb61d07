"""Alembic's environment: which database to migrate, what to compare, and how to run.

A caller may pass its own connection or engine in ``config.attributes["connection"]``. Otherwise
the database is the one that :mod:`trading_bot_schema.url` determines.
"""

import logging
import os
from contextlib import nullcontext
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL

from trading_bot_schema import console

x_arguments = context.get_x_argument(as_dictionary=True)
log_format = x_arguments.get("log", os.environ.get("MIGRATION_LOG"))
status_line = console.set_up(context.config, as_json=log_format == "json")
log = logging.getLogger("alembic.env")

try:
    from trading_bot_schema import migrator, signals
    from trading_bot_schema.configuration import check_models, check_revisions, configured_target
    from trading_bot_schema.drafts import render_type
    from trading_bot_schema.url import masked

    check_models()
    check_revisions(context.script)
    from models import Base
except ImportError as error:  # such as a missing driver
    raise CommandError(f"{error}. Install the project: pip install -e .") from error


def target_url() -> URL:
    """Return the URL that the environment or ``alembic.ini`` names."""
    url = configured_target(context.config)
    target = masked(url)
    log.info("Database: %s", target, extra={"event": "target", "target": target})
    return url


def configure(**options: Any) -> None:
    """Configure Alembic: compare everything with the models, one transaction per migration."""
    context.configure(
        target_metadata=Base.metadata,
        autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
        compare_type=True,
        compare_server_default=True,
        render_item=render_type,
        transaction_per_migration=True,
        **options,
    )


def run_migrations_offline() -> None:
    """Print the SQL instead of running it; no database is needed."""
    configure(dialect_name="postgresql", literal_binds=True)
    with console.output() if context.config.cmd_opts else nullcontext():
        migrator.run_migrations()


def run_migrations_online() -> None:
    """Run the migrations, one migrator at a time."""
    settings = migrator.Settings.read(x_arguments, os.environ)
    migrator.run_online(configure, settings, target_url, Base.metadata.tables, status_line)


if context.is_offline_mode():
    run_migrations_offline()
else:
    with signals.end_cleanly(context.config):
        run_migrations_online()
