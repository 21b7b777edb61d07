"""The contributor's commands: ``python -m verification lines|check|seal [REVISION ...]``.

``lines`` writes the lines of the docstring that are measured, where they are missing or wrong:
Locks, Downgrade locks, Upgrade, Old code, Downgrade.
``check`` reports everything that the suite would say about revisions, and runs the project's quick
tests, such as of models and rows. ``seal`` records their code in the sum file, as the last step
before they land. Without revisions: those that are not sealed.

The server is the one that TEST_DATABASE_URL names, else a temporary embedded one.
"""

import argparse
import re
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
from alembic.script import Script
from alembic.util import CommandError

from trading_bot_schema.embedded import EmbeddedError
from verification import reading, sealed, servers
from verification.guarantees import GUARANTEES, MEASURED, problems
from verification.history import Databases
from verification.lines import WrongLine, correct
from verification.project import Project, load
from verification.roles import RoleDatabases


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m verification", description=__doc__)
    parser.add_argument("command", choices=["lines", "check", "seal"])
    parser.add_argument("revision", nargs="*", help="by default those that are not sealed")
    options = parser.parse_args(arguments)
    try:
        project = load()
        sys.exit(run(project, options.command, options.revision))
    except (ValueError, CommandError, EmbeddedError, psycopg.Error) as error:
        sys.exit(f"ERROR {' '.join(str(error).split())}")


def run(project: Project, command: str, names: list[str]) -> int:
    """Run a command on revisions; return the exit status."""
    if command == "seal":
        unfinished = [
            f"{project.path(script)}: {problem}"
            for script in scripts(project, [])
            for problem in reading.problems(script)
        ]
        if unfinished:
            print(*unfinished, sep="\n")  # noqa: T201
            return 1
        added = sealed.seal(project)
        print("Sealed." if added else "Nothing to seal.")  # noqa: T201
        return 0
    chosen = scripts(project, names)
    if not chosen:
        print("All revisions are sealed: name one, or draft one (see CONTRIBUTING.md).")  # noqa: T201
        return 0
    failed = False
    with ExitStack() as stack:
        tests = None
        if command == "check" and project.tests:
            tests = stack.enter_context(quick_tests(project))  # beside the guarantees
        server = stack.enter_context(servers.server(servers.IMPATIENT))
        factory = RoleDatabases(project.roles, server)
        databases = Databases(project, stack.enter_context(closing(factory)))
        for script in chosen:
            failed |= (write if command == "lines" else check)(databases, script)
        failed |= tests is not None and not passed(tests)
    return int(failed)


def scripts(project: Project, names: list[str]) -> list[Script]:
    """Return the revisions with these names, or those that are not sealed, the oldest first."""
    if names:
        return [project.scripts.get_revision(name) for name in names]
    known = sealed.known(project)
    return [script for script in project.history if script.revision not in known]


def write(databases: Databases, script: Script) -> bool:
    """Correct the lines that are measured, and print them; return whether one is unknown."""
    found = [text for guarantee in MEASURED for text in problems(guarantee, databases, script)]
    wrong = [text for text in found if isinstance(text, WrongLine)]
    correct(Path(script.path), wrong)
    report = [each.line or f"deleted {each.start}" for each in wrong]
    unknown = [*dict.fromkeys(text for text in found if not isinstance(text, WrongLine))]
    result = [*report, *unknown] or ["No line that is measured is missing or wrong."]
    print(f"{databases.project.path(script)}:", *result, sep="\n")  # noqa: T201
    return bool(unknown)


def check(databases: Databases, script: Script) -> bool:
    """Print what is wrong with a revision, by guarantee, once; return whether anything is."""
    path = databases.project.path(script)
    print(f"{path}:")  # noqa: T201
    printed: set[str] = set()
    for guarantee in GUARANTEES:
        found = problems(guarantee, databases, script)
        title = guarantee.__name__.replace("_", " ")
        same = ", as above" if found and printed.issuperset(found) else ""
        print(f"{'FAILED' if found else 'ok    '} {title}{same}", flush=True)  # noqa: T201
        for problem in found:
            if problem not in printed:
                print(f"{path}: {problem}\n")  # noqa: T201
        printed |= {*found}
        if any(problem.startswith(f"upgrade() of {path} ") for problem in found):
            break  # The others would fail as well.
    return bool(printed)


def quick_tests(project: Project) -> subprocess.Popen[str]:
    """Start the project's quick tests."""
    options = ["-q", "--no-header", "--tb=line", "-rN", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *project.tests],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def passed(tests: subprocess.Popen[str]) -> bool:
    """Print which tests fail; return whether none does."""
    output, _ = tests.communicate()
    title = "agrees with models, specification and rows"
    print(f"{'FAILED' if tests.returncode else 'ok    '} {title}")  # noqa: T201
    if tests.returncode:
        report = re.split(r"=+ (?:ERRORS|FAILURES) =+\n", output, maxsplit=1)[-1]
        print(*dict.fromkeys(report.splitlines()), sep="\n")  # noqa: T201
    return not tests.returncode


if __name__ == "__main__":
    main()
