"""Look for dangerous SQL in the revisions, with squawk: ``python -m tools.lint_migrations``.

Needs no database. ``.squawk.toml`` says which rules do not hold here, and why. A statement that
means it is excused by the comment ``-- squawk-ignore RULE`` in front of it.
"""

import subprocess
import sys
import sysconfig
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tools import ROOT
from trading_bot_schema.configuration import alembic_config

SQUAWK = Path(sysconfig.get_path("scripts"), "squawk")
# A downgrade is there to drop what was added.
EXCUSED_IN_DOWNGRADES = (
    "-- squawk-ignore-file ban-drop-column, ban-drop-constraint, ban-drop-not-null, ban-drop-table"
)


def lint(config: Config) -> bool:
    """Run squawk on every revision, up and down; let it print, and say whether all is well."""
    passed = True
    for script in ScriptDirectory.from_config(config).walk_revisions():
        name, before = script.revision, script.down_revision or "base"
        for migrate, revisions, heading in (
            (command.upgrade, f"{before}:{name}", ""),
            (command.downgrade, f"{name}:{before}", EXCUSED_IN_DOWNGRADES),
        ):
            config.output_buffer = StringIO()
            migrate(config, revisions, sql=True)
            title = f"{migrate.__name__} of {Path(script.path).name}"
            done = subprocess.run(  # noqa: S603 - our own command
                [SQUAWK, "--config", ROOT / ".squawk.toml", "--stdin-filepath", title],
                input=f"{heading}\n{config.output_buffer.getvalue()}",
                text=True,
                check=False,
            )
            passed &= done.returncode == 0
    return passed


if __name__ == "__main__":
    sys.exit(0 if lint(alembic_config()) else 1)
