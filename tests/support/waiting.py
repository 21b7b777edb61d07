"""Waits for a condition, for as long as a loaded machine may need."""

import time
from collections.abc import Callable

# A test that waits longer fails.
SECONDS = 120


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
