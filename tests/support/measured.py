"""Revisions that run one after the other beside an application, and what they do."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from tests.support.application import ALWAYS, NOTHING, ONCE, Application
from tests.support.lock_lines import named_locks
from tests.support.observed_revision import ObservedRevision
from tests.support.probe_revisions import Revisions
from tools.dangerous_operations import Effect

WORST = (NOTHING, ONCE, ALWAYS)


class Measured:
    """A form of an operation, run revision by revision beside an application."""

    def __init__(
        self,
        functions: Iterable[str],
        revisions: Revisions,
        start: str,
        copy: Callable[[str], str],
        without: Collection[str] = (),
    ) -> None:
        self.locks: list[str] = []
        self.application = NOTHING
        self.observed: list[ObservedRevision] = []
        self.url = start
        for number, function in enumerate(functions, start=1):
            name = f"probe{number}"
            revisions.add_function(name, function)
            first = copy(self.url)
            start_again = partial(_first_or_copy, iter([first]), copy, self.url)
            observed = ObservedRevision(name, "", start_again, config=revisions.config)
            with Application(first, without) as application:
                self.locks.append(named_locks(observed.upgrade))
                self.application = max(self.application, application.sees(), key=WORST.index)
            self.observed.append(observed)
            self.url = first

    @property
    def effect(self) -> Effect:
        """What the table says of it."""
        if len(self.locks) == 1:
            return [self.locks[0], self.application]
        numbered = (f"{number}. {locks}" for number, locks in enumerate(self.locks, start=1))
        return ["<br>".join(numbered), self.application]

    def broken_rules(self) -> list[str]:
        return [text for observed in self.observed for text in observed.broken_rules()]


def _first_or_copy(first: Iterator[str], copy: Callable[[str], str], url: str) -> str:
    return next(first, None) or copy(url)
