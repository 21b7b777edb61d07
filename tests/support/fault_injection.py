"""Calls a function before the nth statement of a migration."""

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event


def before_change(number: int, action: Callable[[], object], target: Any = Engine) -> None:
    """Call ``action`` before the nth statement or commit, counted from the first change."""
    main, changes = threading.main_thread(), 0

    def count(*arguments: Any) -> None:
        nonlocal changes
        statement = arguments[2] if len(arguments) > 2 else "COMMIT"
        first_word = statement.split(maxsplit=1)[0].upper()
        if threading.current_thread() is not main or first_word in ("SELECT", "SHOW"):
            return
        if changes == 0 and first_word == "COMMIT":
            return
        changes += 1
        if changes == number:
            action()

    event.listen(target, "before_cursor_execute", count)
    event.listen(target, "commit", count)
