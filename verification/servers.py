"""The PostgreSQL server of tests, benchmarks and generated documents."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trading_bot_schema import embedded
from trading_bot_schema.url import parse

VARIABLE = "TEST_DATABASE_URL"
"""Names a server to use; its user needs the CREATEDB privilege."""
# A test server may lose its data in a crash.
NOT_DURABLE = {
    "fsync": "off",
    "autovacuum": "off",  # visits each of hundreds of databases
    "full_page_writes": "off",
    "max_connections": "300",
    "max_prepared_transactions": "10",
}
# A statement of a revision that takes longer has a loop without an end.
IMPATIENT = NOT_DURABLE | {"statement_timeout": "60s"}
# A database is 300 files; in memory, they cost a tenth. A container may have too little memory:
# the suite needs this for each of its processes.
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp creates a directory of our own in it
MEMORY_NEEDED = 2 * 1024**3 * (os.cpu_count() or 1)


@contextmanager
def server(settings: Mapping[str, str] = NOT_DURABLE) -> Iterator[str]:
    """Yield the URL of the server that ``TEST_DATABASE_URL`` names, else of a temporary one.

    A temporary server has the settings given, and its files in memory if it is not durable.

    Raises:
        embedded.EmbeddedError: The embedded PostgreSQL is not installed or does not start.
    """
    if url := os.environ.get(VARIABLE):
        yield parse(url).render_as_string(hide_password=False)
        return
    in_memory = (
        settings.get("fsync") == "off"
        and os.access(MEMORY, os.W_OK)
        and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
    )
    with embedded.temporary(settings, MEMORY if in_memory else None) as temporary:
        yield temporary.render_as_string(hide_password=False)
