"""Commands for those who change the project; not installed with it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
