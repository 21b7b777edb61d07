"""Lints the SQL of revisions with squawk, for what only a text shows.

Locks, scans, rewrites, and what old code still finds are observed, and decided by
:mod:`verification.rules`. The comment ``-- squawk-ignore RULE`` before a statement disables a
rule for it.
"""

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.script import Script

from verification.history import offline
from verification.project import Project, before

SQUAWK = Path(sysconfig.get_path("scripts"), "squawk")
RULES = (
    # A COMMIT in a revision ends the transaction of the migrator.
    "transaction-nesting",
    # No database of the tests has it.
    "ban-drop-database",
)
OF_UPGRADES = (
    # Types of which PostgreSQL's own wiki says: don't use them.
    "ban-char-field",
    "prefer-identity",
    "prefer-timestamp-tz",
    # PostgreSQL truncates it, with a notice.
    "identifier-too-long",
)
"""A downgrade restores what was there. All are explained at https://squawkhq.com/docs/rules."""


def findings(project: Project, script: Script) -> Iterator[str]:
    """Run squawk on the upgrade and the downgrade; yield what it reports by these rules."""
    name, previous = script.revision, before(script)[0]
    for migrate, revisions, rules in (
        (command.upgrade, f"{previous}:{name}", RULES + OF_UPGRADES),
        (command.downgrade, f"{name}:{previous}", RULES),
    ):
        sql = offline(project, migrate, revisions)
        result = subprocess.run(
            [SQUAWK, "--reporter=json"], input=sql, capture_output=True, text=True, check=False
        )
        for finding in json.loads(result.stdout):
            if (rule := finding["rule_name"]) in rules:
                line = sql.splitlines()[finding["line"]].strip()
                advice = " ".join(filter(None, (finding["message"], finding["help"])))
                yield f"{migrate.__name__}(): {line}: [{rule}] {advice}"
