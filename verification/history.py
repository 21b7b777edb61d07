"""Databases at each revision of a project, without rows and with them."""

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from io import StringIO
from pathlib import Path
from typing import Any, Self, TypeVar

from alembic import command
from alembic.script import Script
from sqlalchemy.exc import OperationalError

from trading_bot_schema.drift.catalogue import Catalogue, snapshot
from verification import rows
from verification.databases import Factory, name_of, sync_engine
from verification.project import Project, before, noting

T = TypeVar("T")


class Databases:
    """Creates databases at any revision of a project; each revision runs once."""

    def __init__(self, project: Project, factory: Factory) -> None:
        """Take a project, and what creates databases."""
        self.project, self.app, self._factory = project, factory.app, factory
        self._temporary: list[str] = []
        self.observed: dict[Script, Any] = {}
        """What was observed on them."""
        self.refusals: dict[Script, str] = {}
        """Why the upgrade does not run on all generated rows, but on some."""
        self._templates: dict[tuple[str, ...], str] = {}
        self._shared: dict[tuple[object, ...], Any] = {}
        """By the names of templates, also for projects with further revisions."""

    def of(self, project: Project) -> Self:
        """Return databases of a project that has further revisions after the same history."""
        self.template(self.project.head)  # once, rather than for each of the others
        other = copy(self)
        other.project, other._templates = project, dict(self._templates)
        return other

    def at(self, *revisions: str) -> str:
        """Return the URL of a new database at a revision; "base" has ``alembic_version`` only.

        Before a merge, it is at several revisions.
        """
        return self.make(self.template(*revisions))

    def filled(self, *revisions: str) -> str:
        """Return the URL of a new database at a revision, with rows in every table."""
        return self.make(self.filled_template(*revisions))

    def before(self, script: Script) -> str:
        """Return one at the previous revision, with rows that the upgrade accepts."""
        return self.make(self._suitable(script, "before"))

    def after(self, script: Script) -> str:
        """Return one at a revision, with rows that the downgrade accepts."""
        return self.make(self._suitable(script, "after"))

    def make(self, template: str = "template0") -> str:
        """Return the URL of a new database, a copy of a template, until :meth:`release`."""
        self._temporary.append(self._factory(template))
        return self._temporary[-1]

    def keep(self, url: str) -> str:
        """Return the name of a database, which is kept as a template."""
        self._temporary.remove(url)
        return name_of(url)

    def release(self) -> None:
        """Drop the databases that are not kept."""
        self._factory.drop(*self._temporary)
        self._temporary.clear()
        self.observed.clear()

    def schema(self, *revisions: str) -> Catalogue:
        """Return the objects of a database at a revision."""
        key = ("schema", self.template(*revisions))
        return self.once(key, lambda: snapshot(self.at(*revisions)))

    def once(self, key: tuple[object, ...], read: Callable[[], T]) -> T:
        """Return what is read once for a key that contains the names of templates."""
        if key not in self._shared:
            self._shared[key] = read()
        result: T = self._shared[key]
        return result

    def template(self, *revisions: str) -> str:
        """Return the name of a database at a revision, to copy."""
        if revisions not in self._templates:
            if revisions == ("base",):
                url = self.make()
                command.stamp(self.project.config(sync_engine(url)), "base")
            else:
                last = self.project.scripts.get_revision(revisions[-1])
                url = self.at(*revisions[:-1]) if revisions[1:] else self.at(*before(last))
                self.project.migrate(url, last.revision)
            self._templates[revisions] = self.keep(url)
        return self._templates[revisions]

    def filled_template(
        self, *revisions: str, like: tuple[str, ...] = (), plain: bool = False
    ) -> str:
        """Return the name of a database with rows, to copy; they suit the schema of ``like``."""
        near = rows.Nearby()
        # Rows are generated for the literals of this revision and of the next one.
        for script in self.project.history:
            if {script.revision, *before(script)} & {*revisions}:
                near |= self._nearby(script)
        templates = [self.template(*each) for each in (revisions, like) if each]

        def create() -> str:
            url, *other = map(self.make, templates)
            rows.fill(url, self.project, near, *other, plain=plain)
            return self.keep(url)

        return self.once(("filled", *templates, near, plain), create)

    def _nearby(self, script: Script) -> rows.Nearby:
        def read() -> rows.Nearby:
            source = Path(script.path).read_text(encoding="utf-8")
            with suppress(Exception):  # It fails, which is reported when it is judged.
                return rows.nearby(self.at(script.revision), source)
            return rows.Nearby()

        return self.once(("nearby", script.path), read)

    def _suitable(self, script: Script, when: str) -> str:
        """Return the name of a database whose rows a migration does not reject.

        A unique key that is added, for instance, rejects duplicates, unless the migration removes
        them. Then there are only rows that the schema after the migration accepts as well; and if
        it rejects those, copies of one row for each table.

        Raises:
            RowsError: It rejects those, too.
        """
        start, end = before(script), (script.revision,)
        if when == "after":
            start, end = end, start
        kinds: list[dict[str, Any]] = [{}, {"like": end}, {"like": end, "plain": True}]

        def create() -> str:
            error = Exception()
            for kind in kinds:
                filled = self.filled_template(*start, **kind)
                url = self.make(filled)
                try:
                    if when == "after":
                        self.project.downgrade(url, script)
                    else:
                        self.project.migrate(url, script.revision)
                except OperationalError:  # such as a timeout, which no other rows prevent
                    raise
                except Exception as e:  # of any driver, or of code that reads the rows
                    error = e
                    if when == "before":
                        self.refusals.setdefault(script, str(e).splitlines()[0])
                else:
                    return filled
            if when == "after":
                self.project.downgrade(self.at(*start), script)  # Are the rows the reason?
            raise rows.refused(self.project, script, error) from error

        filled = self.filled_template(*start)
        return self.once(("suitable", filled, self.template(script.revision), when), create)


def offline(project: Project, direction: Callable[..., None], revisions: str) -> str:
    """Return the SQL of ``command.upgrade`` or ``command.downgrade`` with ``--sql``."""
    config = project.config()
    config.output_buffer = StringIO()
    with noting(f"{direction.__name__} {revisions} --sql"):
        direction(config, revisions, sql=True)
    return config.output_buffer.getvalue()
