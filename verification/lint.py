"""Lints the SQL of revisions with squawk, which needs no database.

``.squawk.toml`` lists the rules that are disabled, with reasons. The comment
``-- squawk-ignore RULE`` before a statement disables a rule for it.
"""

import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.script import Script

from verification.history import offline
from verification.project import Project, before

SQUAWK = Path(sysconfig.get_path("scripts"), "squawk")
# A downgrade has to drop what the upgrade added.
IGNORED_IN_DOWNGRADES = (
    "-- squawk-ignore-file ban-drop-column, ban-drop-constraint, ban-drop-not-null, ban-drop-table"
)


def findings(project: Project, script: Script) -> Iterator[str]:
    """Run squawk on the upgrade and the downgrade of a revision; yield what it reports."""
    name, previous = script.revision, before(script)[0]
    for migrate, revisions, heading in (
        (command.upgrade, f"{previous}:{name}", ""),
        (command.downgrade, f"{name}:{previous}", IGNORED_IN_DOWNGRADES),
    ):
        title = f"{migrate.__name__} of {Path(script.path).name}"
        result = subprocess.run(
            [SQUAWK, "--config", project.root / ".squawk.toml", "--stdin-filepath", title],
            input=f"{heading}\n{offline(project, migrate, revisions)}",
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            yield result.stdout + result.stderr
