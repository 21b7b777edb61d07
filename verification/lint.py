"""Lint the SQL of the revisions with squawk: ``python -m verification.lint``.

Needs no database. ``.squawk.toml`` lists the rules that are disabled here, with reasons. The
comment ``-- squawk-ignore RULE`` before a statement disables a rule for it.
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
# A downgrade has to drop what the upgrade added.
IGNORED_IN_DOWNGRADES = (
    "-- squawk-ignore-file ban-drop-column, ban-drop-constraint, ban-drop-not-null, ban-drop-table"
)


def lint(config: Config) -> bool:
    """Run squawk, which prints its findings, on the upgrade and downgrade of every revision.

    Return whether all of them passed.
    """
    passed = True
    for script in ScriptDirectory.from_config(config).walk_revisions():
        name, before = script.revision, script.down_revision or "base"
        for migrate, revisions, heading in (
            (command.upgrade, f"{before}:{name}", ""),
            (command.downgrade, f"{name}:{before}", IGNORED_IN_DOWNGRADES),
        ):
            config.output_buffer = StringIO()
            migrate(config, revisions, sql=True)
            title = f"{migrate.__name__} of {Path(script.path).name}"
            result = subprocess.run(
                [SQUAWK, "--config", ROOT / ".squawk.toml", "--stdin-filepath", title],
                input=f"{heading}\n{config.output_buffer.getvalue()}",
                text=True,
                check=False,
            )
            passed &= result.returncode == 0
    return passed


if __name__ == "__main__":
    sys.exit(0 if lint(alembic_config()) else 1)
