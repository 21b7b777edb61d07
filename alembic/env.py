"""Alembic's environment: which database to migrate, and how.

A caller may pass its own connection or engine in ``config.attributes["connection"]``; it keeps its
own timeouts and exceptions, and a transaction that it has begun stays in its hands. Otherwise the
database is found as :mod:`models.url` says. Either way there is one migrator at a time.
"""

import logging
import os
from configparser import InterpolationError
from contextlib import nullcontext
from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection

config = context.config

# Only the command line may set logging up; an application that calls Alembic has done so already.
if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

try:
    from models import Base, console, migrator
    from models.embedded import EmbeddedError
    from models.url import DatabaseURLError, database_url, masked, resolve
except ImportError as error:  # such as a missing driver
    raise CommandError(f"{error}. Install the project: pip install -e .") from error

if config.cmd_opts is not None:
    console.set_up(config.cmd_opts.quiet)

log = logging.getLogger("alembic.env")
target_metadata = Base.metadata


def configured_url() -> str | None:
    """Read ``sqlalchemy.url``, in which a percent sign need not be doubled."""
    try:
        return config.get_main_option("sqlalchemy.url")
    except InterpolationError:
        section = config.file_config[config.config_ini_section]
        url = section.get("sqlalchemy.url", raw=True)
        return url and url.replace("%(here)s", section["here"])


def target_url() -> URL:
    """Find the database that the environment or ``alembic.ini`` names."""
    try:
        url = resolve(database_url(configured_url()))
    except (DatabaseURLError, EmbeddedError) as error:
        raise CommandError(str(error)) from None
    log.info("Database: %s", masked(url))
    return url


def configure(connection: Connection) -> None:
    """Tell Alembic what to compare, and to give each migration a transaction of its own."""
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )


def run_migrations() -> None:
    """Run the migrations that the command asks for."""
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_offline() -> None:
    """Print the SQL instead of running it; no database is needed."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=target_metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    run_migrations()


def run_migrations_online() -> None:
    """Run the migrations on the caller's connection or engine, else on one of our own."""
    settings = migrator.Settings.read(context.get_x_argument(as_dictionary=True), os.environ)
    given = config.attributes.get("connection")
    if given is None:
        with migrator.connect(target_url(), settings) as connection:
            configure(connection)
            migrator.run(connection, context.get_context(), settings, run_migrations)
        return
    with nullcontext(given) if isinstance(given, Connection) else given.connect() as connection:
        configure(connection)
        with migrator.alone(connection, context.get_context(), settings):
            run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
