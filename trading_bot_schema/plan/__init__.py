"""Reports what a migration of a database would do and what blocks it, without doing it.

:mod:`~trading_bot_schema.plan.command` is ``python -m trading_bot_schema plan``.
"""
