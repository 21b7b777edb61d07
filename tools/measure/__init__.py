"""How fast the hot queries and the writes are, measured. See ``docs/benchmarks.md``."""
