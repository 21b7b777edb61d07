"""Compares databases, object by object, in everything PostgreSQL stores about a schema.

:mod:`~trading_bot_schema.drift.command` is ``python -m trading_bot_schema drift``, which compares
a live database with what the migrations build at its revision. The test suite compares the models
with the migrations by the same :mod:`~trading_bot_schema.drift.catalogue`.
"""
