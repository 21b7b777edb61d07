"""Timeouts of the server for each statement of a migration, by its kind and revision."""

from collections.abc import Callable

from sqlalchemy import Connection, func, select

from trading_bot_schema.migrator.settings import Settings

OWN = {"sets_timeouts": True}
"""Execution options of the statement that sets the timeouts, to which none apply."""


class Timeouts:
    """Sets ``lock_timeout`` and ``statement_timeout`` if the next statement needs others."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Take a function that returns the current settings: each revision may have its own."""
        self._settings = settings
        self._current: dict[str, int] = {}
        self.lock_timeout = 0
        """The timeouts of the last statement, in milliseconds."""

    def set_for(self, connection: Connection, concurrent: bool) -> None:
        """Set the timeouts for the next statement."""
        settings = self._settings()
        self.lock_timeout = (
            settings.concurrent_lock_timeout if concurrent else settings.lock_timeout
        )
        values = {
            "lock_timeout": self.lock_timeout,
            "statement_timeout": settings.statement_timeout,
        }
        if values != self._current:
            connection.execute(
                select(*(func.set_config(name, f"{ms}ms", False) for name, ms in values.items())),
                execution_options=OWN,
            )
            self._current = values

    def forget(self) -> None:
        """Set them again before the next statement: the end of a transaction has reset them."""
        self._current = {}
