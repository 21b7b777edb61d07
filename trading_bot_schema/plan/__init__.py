"""What a migration of a database would do, and what is in its way now, without doing it.

:mod:`~trading_bot_schema.plan.command` is ``python -m trading_bot_schema plan``.
"""
