"""A project that is not the bot's: the schema of a public library, with parts of all kinds.

What verifies revisions is tested on it, so that no test of a tool depends on today's tables.
"""
