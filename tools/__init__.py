"""Commands for contributors; not part of the wheel."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
