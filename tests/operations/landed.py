"""The project as of a landed revision, which never changes.

The tests of the migrator and of its commands use it, so that they do not depend on later ones.
"""

import atexit
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.trading_bot import PROJECT as TODAY

HEAD = "e72f3d9086bc"

_directory = Path(tempfile.mkdtemp(prefix="landed-"))
atexit.register(shutil.rmtree, _directory)
_names = [Path(script.path).name for script in TODAY.history]
_later = _names[[script.revision for script in TODAY.history].index(HEAD) + 1 :]
shutil.copytree(
    TODAY.scripts.dir,
    _directory / "alembic",
    ignore=shutil.ignore_patterns("__pycache__", *_later),
)
# Not those of today's models.
TABLES = ("users", "api_keys", "bot_configs", "bot_states", "trades")
_env = _directory / "alembic" / "env.py"
_env.write_text(_env.read_text().replace("Base.metadata.tables", str(TABLES)))
PROJECT = replace(TODAY, ini=Path(shutil.copy(TODAY.ini, _directory)))
HISTORY = PROJECT.history
