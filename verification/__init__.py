"""Determines whether a revision is safe to run on a database that serves traffic.

A project describes itself once, as a :class:`Project`. On :class:`Databases` of it, each function
in :data:`GUARANTEES` yields what is wrong with a revision. They run the revision, up and down, on
databases with rows in every table, and read its effects from PostgreSQL:

- :func:`observe` runs a migration statement by statement, and reads after each which locks the
  session holds (``pg_locks``), which tables have a new file (rewritten), and how many rows were
  read and changed (``pg_stat_xact_user_tables``). A statement outside a transaction releases its
  locks before they can be read, so it is first run in a transaction that is rolled back; where
  PostgreSQL refuses that, as for ``CREATE INDEX CONCURRENTLY``, other sessions hold a lock for
  which it has to wait, and its request is read while it waits.
- :func:`violations` applies the rules for live databases to what was observed.
- :func:`round_trip` compares the rows before and after a migration there and back.
- :func:`observe_old_code` runs the statements of the previous revision's code on the new schema.

The package knows no table of a project; another project can copy it and write a ``Project``.
"""

from verification.guarantees import GUARANTEES
from verification.history import Databases
from verification.observation import observe
from verification.old_code import of_revision as observe_old_code
from verification.project import Project, Workload, load
from verification.round_trip import round_trip
from verification.rules import violations

__all__ = [
    "GUARANTEES",
    "Databases",
    "Project",
    "Workload",
    "load",
    "observe",
    "observe_old_code",
    "round_trip",
    "violations",
]
