"""Runs the command for which Alembic has loaded ``env.py``."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext

from alembic import context
from sqlalchemy import URL, Connection

from trading_bot_schema.console import StatusLine
from trading_bot_schema.migrator.connection import connect
from trading_bot_schema.migrator.plan import Plan
from trading_bot_schema.migrator.run import run, run_for_caller
from trading_bot_schema.migrator.settings import Settings


def run_migrations() -> None:
    """Run the migrations of the command."""
    with context.begin_transaction():
        context.run_migrations()


def run_online(
    configure: Callable[..., None],
    settings: Settings,
    target: Callable[[], URL],
    tables: Collection[str] = (),
    status_line: StatusLine | None = None,
) -> None:
    """Run the migrations, one migrator at a time.

    Args:
        configure: Calls ``context.configure`` with the options of the project and those given.
        settings: Those of the migrator.
        target: Returns the database, unless the caller gave a connection or engine in
            ``config.attributes["connection"]``.
        tables: What the application needs.
        status_line: Shows the progress on a terminal.
    """
    given = context.config.attributes.get("connection")
    opened: AbstractContextManager[Connection]
    if given is None:
        opened = connect(target(), settings)
    else:
        opened = nullcontext(given) if isinstance(given, Connection) else given.connect()
    with opened as connection:
        configure(connection=connection)
        # Kept when an attempt fails.
        plan = Plan(context.get_context(), context.script, settings, tables)
        configure(connection=connection, **plan.options)
        if given is None:
            run(connection, plan, run_migrations, status_line)
        else:
            run_for_caller(connection, plan, run_migrations)
