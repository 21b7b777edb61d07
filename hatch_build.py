"""Includes the migrations in the wheel, in ``trading_bot_schema/``.

They cannot be installed at their place in a checkout: a top-level ``alembic`` would shadow
the library. An editable installation uses those of the checkout, so it gets no copy.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipMigrations(BuildHookInterface[Any]):
    """Hatchling's hook for the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add ``alembic.ini`` and ``alembic/``."""
        if version == "standard":
            for name in ("alembic.ini", "alembic"):
                build_data["force_include"][name] = f"trading_bot_schema/_alembic/{name}"
