"""Alembic's environment: which database to migrate, and how.

A caller may pass its own connection or engine in ``config.attributes["connection"]``; a
transaction that the caller has begun stays in the caller's hands. Otherwise the database is found
as :mod:`models.url` says.
"""

import logging
from configparser import InterpolationError
from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, pool

from models import Base
from models.embedded import EmbeddedError
from models.url import DatabaseURLError, database_url, masked, resolve

config = context.config
log = logging.getLogger("alembic.env")
target_metadata = Base.metadata

# Only the command line may set logging up; an application that calls Alembic has done so already.
if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)


def configured_url() -> str | None:
    """Read ``sqlalchemy.url``, in which a percent sign need not be doubled."""
    try:
        return config.get_main_option("sqlalchemy.url")
    except InterpolationError:
        section = config.file_config[config.config_ini_section]
        url = section.get("sqlalchemy.url", raw=True)
        return url and url.replace("%(here)s", section["here"])


def run_migrations_offline() -> None:
    """Print the SQL instead of running it; no database is needed."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=target_metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_migrations(connection: Connection) -> None:
    """Run the migrations on a connection, each in a transaction of its own."""
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def migration_engine() -> Engine:
    """Make the engine for the database that the environment or ``alembic.ini`` names."""
    try:
        url = resolve(database_url(configured_url()))
    except (DatabaseURLError, EmbeddedError) as error:
        raise CommandError(str(error)) from None
    log.info("Database: %s", masked(url))
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=pool.NullPool,
        hide_parameters=True,
    )


def run_migrations_online() -> None:
    """Run the migrations on the caller's connection or engine, else on one of our own."""
    given = config.attributes.get("connection")
    if isinstance(given, Connection):
        run_migrations(given)
        return
    with (given or migration_engine()).connect() as connection:
        run_migrations(connection)


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
