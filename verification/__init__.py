"""Determines whether a revision is safe to run on a database that serves traffic."""
