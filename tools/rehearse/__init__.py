"""Rehearses migrations on a copy of a database, or on made-up data, while the application works.

``python -m tools.rehearse --help``; docs/rehearsal.md has results. It writes to the database that
``--scratch`` names, or to a server of its own, and never to the one of ``DATABASE_URL``.
"""
