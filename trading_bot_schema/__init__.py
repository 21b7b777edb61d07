"""Runs the migrations and locates the database. Does not import ``models``."""
