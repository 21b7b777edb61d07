"""Measures the cost of queries, writes and migrations: docs/benchmarks.md and docs/rehearsal.md.

``python -m tools.measure --help`` lists the commands.
"""
