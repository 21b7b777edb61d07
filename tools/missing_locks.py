"""Write the line ``Locks:`` of revisions that lack it, by what they do."""

import itertools
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from alembic.script import Script

from tests.support import databases, history
from tests.support.generated_rows import FilledDatabases
from tests.support.lock_lines import check_downgrade, downgrade_line, upgrade_line
from tests.support.observed_revision import ObservedRevision
from trading_bot_schema import embedded
from trading_bot_schema.docstrings import names

LOCKS = re.compile(r"^Locks: <.*>\n", re.MULTILINE)
NEXT = re.compile(r"^(?=Downgrade: )", re.MULTILINE)


def write(revisions: Iterable[Script]) -> None:
    """Run revisions on an embedded server, and write what they lock into their docstrings."""
    with _databases() as make_database:
        filled = FilledDatabases(make_database, history.Databases(make_database))
        for script in revisions:
            observed = ObservedRevision(
                script.revision,
                script.longdoc,
                partial(filled.before, script),
                partial(filled.after, script),
            )
            path = Path(script.path)
            source = path.read_text(encoding="utf-8")
            path.write_text(with_lines(source, observed), encoding="utf-8")


def with_lines(source: str, observed: ObservedRevision) -> str:
    """Return the source of a revision with the lines on locks in its docstring."""
    lines = f"{upgrade_line(observed.upgrade)}\n"
    dropped = names(observed.docstring, "Downgrade", "loses")
    if check_downgrade(lines, observed.downgrade, dropped):
        lines += f"{downgrade_line(observed.downgrade, dropped)}\n"
    return NEXT.sub(lines, LOCKS.sub("", source, count=1), count=1)


@contextmanager
def _databases() -> Iterator[Callable[..., str]]:
    """Start a server, and make databases on it: ``make_database(template=...)``."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        Path(directory).chmod(0o755)  # The server may run as another account.
        home = Path(directory) / "server"
        server = embedded.start(home, {"fsync": "off"}).render_as_string(hide_password=False)
        stack.callback(embedded.stop, home)
        numbers = itertools.count(1)
        yield lambda template="template0": stack.enter_context(
            databases.database(server, f"locks_{next(numbers)}", template)
        )
