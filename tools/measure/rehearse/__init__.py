"""Rehearses migrations on a copy of a database, or on generated data, while the application runs.

See ``python -m tools.measure.rehearse --help``; docs/rehearsal.md has results. It writes to the
database that ``--scratch`` names, or to a temporary server, and never to that of ``DATABASE_URL``.
"""
