"""The schema of the tables, which every command and the application have in common."""

from alembic.util import CommandError
from sqlalchemy import Connection, text

from trading_bot_schema.url import CURRENT_SCHEMA, wrong_schema


def check_search_path(connection: Connection) -> None:
    """Refuse a connection whose tables would be in another schema than ``public``.

    Raises:
        CommandError: The message names both.
    """
    began = connection.in_transaction()
    schema, search_path = connection.execute(text(CURRENT_SCHEMA)).one()
    if not began:
        connection.rollback()
    if reason := wrong_schema(schema, search_path):
        raise CommandError(reason)
