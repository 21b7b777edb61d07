"""Write the generated documents, or check that they are up to date.

Without names, all of them. What needs a database is measured on the server that TEST_DATABASE_URL
names, else on a temporary embedded one.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from tools import ROOT
from tools.document import (
    COMMAND,
    Document,
    Measured,
    benchmarks,
    data_dictionary,
    diagram,
    different,
    schema,
)
from trading_bot_schema.embedded import EmbeddedError

DOCUMENTS: tuple[Document | Measured, ...] = (
    diagram.DOCUMENT,
    data_dictionary.DOCUMENT,
    benchmarks.DOCUMENT,
    schema.DOCUMENT,
)
NAMES = [document.name for document in DOCUMENTS]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("name", nargs="*", help=f"a document: {', '.join(NAMES)}")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; list the files that are recognisably out of date without a database",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="with --check: measure again, and compare (takes some minutes)",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(NAMES):
        parser.error(f"unknown document {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    if arguments.measure and not arguments.check:
        parser.error("--measure needs --check; without --check, everything is measured")
    chosen = [document for document in DOCUMENTS if document.name in (arguments.name or NAMES)]
    try:
        if not arguments.check:
            refresh(chosen)
        elif outdated := check(chosen, measure=arguments.measure):
            files = ", ".join(dict.fromkeys(path for paths in outdated.values() for path in paths))
            sys.exit(f"Out of date: {files}. Run: {COMMAND} {' '.join(outdated)}")
    except (ValueError, EmbeddedError) as error:
        sys.exit(str(error))


def refresh(documents: list[Document | Measured]) -> None:
    """Write the files that are out of date, and print their names."""
    with lazy_server() as server:
        for document in documents:
            if isinstance(document, Measured):
                print(f"Measuring: {document.name}", file=sys.stderr)  # noqa: T201
            texts = document.generate(server)
            for path in different(texts):
                (ROOT / path).write_text(texts[path], encoding="utf-8")
                print(f"Wrote {path}")  # noqa: T201 - the command's output


def check(documents: list[Document | Measured], *, measure: bool) -> dict[str, list[str]]:
    """Return the files that are out of date, by the name of the document."""
    with lazy_server() as server:
        paths = {
            document.name: different(document.generate(server)) if measure else document.outdated()
            for document in documents
        }
    return {name: outdated for name, outdated in paths.items() if outdated}


@contextmanager
def lazy_server() -> Iterator[Callable[[], str]]:
    """Yield a function that starts the server when it is first called, and returns its URL."""
    from verification import servers

    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(servers.server()))


if __name__ == "__main__":
    main()
