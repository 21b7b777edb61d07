"""Nine ordinary changes pass as the guide describes them, and ordinary mistakes are refused.

Each is applied to a copy of the repository: model, specification and rows are a patch in
``ordinary/``, the revisions are those of the guide. ``--ordinary`` runs the suite on each;
otherwise it is only tested that they apply.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config

from tests.support.alembic_cli import Result
from tests.support.recipes import GUIDE, add_revisions, recipes
from tests.trading_bot import ROOT
from verification import servers

THIS = Path(__file__).relative_to(ROOT)
PATCHES = Path(__file__).parent / "ordinary"
PAGE = ROOT / "CONTRIBUTING.md"
CHANGES = {
    "column": recipes(PAGE)["Add a migration"],
    "table": recipes()["Add a table"],
    "not-null": recipes()["Make a column NOT NULL"],
    "status": recipes()["Add or change a CHECK"],
    "renaming": recipes()["Change a column's name or type"],
    "rows": recipes()["Change many rows"],
    "index": recipes()["Drop an index"],
    "trigger": recipes()["Add a function or a trigger"],
    "bigint": recipes()["Widen an integer key"],
}
MEASURED = re.compile(
    r"^(Locks|Downgrade locks|Old code|Upgrade|Downgrade): (.+\n)+?(?=[A-Z][a-z ]*: |\n|\"{3})",
    re.MULTILINE,
)
NOTHING = re.compile("(?!)")
# What to change in the files of an ordinary change, and how that is refused.
MISTAKES: dict[str, tuple[str, str, list[tuple[str, str]], str]] = {
    "a forgotten VALIDATE": (
        "status",
        "alembic/versions/*let_bots_be_paused*",
        [("VALIDATE CONSTRAINT ck_bot_states_status_known", "SET (fillfactor = 50)")],
        "A constraint is NOT VALID: VALIDATE it in a revision",
    ),
    "a CHECK before the code writes the column": (
        "not-null",
        "alembic/versions/*require_the_quote_asset*",
        [("breaks: insert into bot_configs, update bot_configs.quote_asset", "works")],
        "Old code: breaks: insert into bot_configs, update bot_configs.quote_asset.",
    ),
    "a table without rows": (
        "table",
        "tests/rows.py",
        [('"price_alerts": [', '"price": [')],
        "tests/rows.py needs two different values of price_alerts.id",
    ),
    "a personal column without erasure": (
        "column",
        "tests/specification.py",
        [("|         | no\nusers.is_active", "|         | yes\nusers.is_active")],
        "users.time_zone is personal, as tests/specification.py says, and forget_user()",
    ),
    "a downgrade that loses rows undeclared": (
        "column",
        "alembic/versions/*add_a_time_zone*",
        [("Downgrade: loses users.time_zone.", "Downgrade: keeps all data.")],
        "Downgrade: loses users.time_zone.",
    ),
    "a trigger without its model": (
        "trigger",
        "models/bot_config.py",
        [("for statement in NOTIFY:", "for statement in ():")],
        "The models lack a function or trigger: give its statement to the event of a table",
    ),
    "a lower-casing that merges two users": (
        "rows",
        "alembic/versions/*store_no_error*",
        [
            ("bot_states", "users"),
            ("last_error_message = NULL", "email = lower(email)"),
            ("last_error_message = ''", "email <> lower(email)"),
            ("users.last_error_message", "users.email"),
        ],
        "Tables may have such rows: resolve them before, or in the statement. DO $$",
    ),
}


class Copy:
    """A copy of the repository, without what git ignores."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "copy"
        shutil.copytree(ROOT, self.root, ignore=shutil.ignore_patterns(".*", "__pycache__"))

    def run(self, *command: str) -> Result:
        """Run a Python module there, with a server of its own."""
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != servers.VARIABLE},
            capture_output=True,
            text=True,
        )
        return Result(result.returncode, result.stdout, result.stderr)

    def apply(self, title: str, *, without: re.Pattern[str] = NOTHING) -> None:
        """Apply a change: the patch, if it has one, and the revisions without some lines."""
        if (patch := PATCHES / f"{title}.patch").exists():
            apply = ["git", "apply", "-C1", str(patch)]
            result = subprocess.run(apply, cwd=self.root, capture_output=True, text=True)
            assert result.returncode == 0, f"{result.stderr}Correct {patch.relative_to(ROOT)}."
        sources = [without.sub("", source) for source in CHANGES[title]]
        add_revisions(Config(self.root / "alembic.ini"), sources)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.mark.parametrize("title", CHANGES)
def test_a_change(title: str, copy: Copy, request: pytest.FixtureRequest) -> None:
    copy.apply(title, without=MEASURED)
    if request.config.option.ordinary:
        for command in (
            ("verification", "lines"),
            ("verification", "check"),
            ("verification", "seal"),
            ("tools.document",),
            ("pytest", "-q", "-n", "auto", "--dist", "worksteal", f"--deselect={THIS}"),
        ):
            copy.run(*command).succeeded()


@pytest.mark.parametrize("title", MISTAKES)
def test_a_mistake(title: str, copy: Copy, request: pytest.FixtureRequest) -> None:
    change, files, replacements, message = MISTAKES[title]
    copy.apply(change)
    (path,) = copy.root.glob(files)
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    if request.config.option.ordinary:
        result = copy.run("verification", "check")
        assert result.status == 1, result.output
        assert message in result.output


def test_the_patch_is_what_the_guide_says() -> None:
    texts = {
        "column": re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL),
        "trigger": re.findall(r"```text\n(NOTIFY.*?)```", GUIDE.read_text("utf-8"), re.DOTALL),
    }
    for title, blocks in texts.items():
        lines = (PATCHES / f"{title}.patch").read_text(encoding="utf-8").splitlines()
        added = {line.removeprefix("+").strip() for line in lines if line.startswith("+")}
        assert blocks
        for block in blocks:
            assert {line.strip() for line in block.splitlines()} <= added
