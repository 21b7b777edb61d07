"""Puts the migrations into the wheel, below ``trading_bot_schema/``, which finds them there.

They cannot be installed as they lie in a checkout: a top-level ``alembic`` would be in the way
of the library's. An editable installation uses the checkout's, so it gets no copy that ages.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipMigrations(BuildHookInterface[Any]):
    """Hatchling's hook for the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add ``alembic.ini`` and what it refers to."""
        if version == "standard":
            for name in ("alembic.ini", "alembic"):
                build_data["force_include"][name] = f"trading_bot_schema/_alembic/{name}"
