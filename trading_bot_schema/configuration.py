"""Alembic's configuration, in a checkout and in an installed package."""

import traceback
import warnings
from argparse import Namespace
from configparser import InterpolationError
from importlib.util import find_spec
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL

from trading_bot_schema.embedded import EmbeddedError
from trading_bot_schema.target import connectable
from trading_bot_schema.url import INSTALLED, PACKAGE, DatabaseURLError, database_url


def alembic_config(options: Namespace | None = None) -> Config:
    """Return the configuration for Alembic's commands, as in ``command.upgrade(config, "head")``.

    ``options`` are those of Alembic's command line.
    """
    config = Config(
        (INSTALLED if INSTALLED.exists() else PACKAGE.parent) / "alembic.ini",
        ini_section=options.name if options else "alembic",
        cmd_opts=options,
    )
    if INSTALLED.exists():
        # The file's own URL would put a server's data among the installed packages.
        config.remove_main_option("sqlalchemy.url")
    return config


def check_models() -> None:
    """Refuse another module that is imported as ``models``, such as one in the working directory.

    Raises:
        CommandError: The message names the file.
    """
    expected = PACKAGE.parent / "models" / "__init__.py"
    spec = find_spec("models")
    if spec is not None and spec.origin and Path(spec.origin).resolve() != expected:
        raise CommandError(
            f"The module models is {spec.origin}, which hides the package of this project,"
            f" {expected.parent}. Run this in another directory, or rename that module."
        )


def check_revisions(script: ScriptDirectory) -> ScriptDirectory:
    """Return the revisions, which Alembic reads when they are first needed.

    Raises:
        CommandError: A file is not valid, or follows a revision that there is not. The message
            names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Revision ")  # Alembic's
            script.get_heads()
    except UserWarning as warning:
        name = str(warning).split()[1]
        files = sorted(Path(script.versions).glob("*.py"))
        named = " and ".join(path.name for path in files if name in path.read_text("utf-8"))
        raise CommandError(f"{warning}: correct revision or down_revision in {named}.") from None
    except (CommandError, RevisionError, SyntaxError) as error:
        raise CommandError(f"A revision cannot be read: {error}") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        raise CommandError(f"A revision cannot be read: {error!r} ({where})") from error
    return script


def configured_url(config: Config) -> str | None:
    """Return ``sqlalchemy.url``. Percent signs in it need not be doubled."""
    try:
        return config.get_main_option("sqlalchemy.url")
    except InterpolationError:
        section = config.file_config[config.config_ini_section]
        url = section.get("sqlalchemy.url", raw=True)
        return url and url.replace("%(here)s", section["here"])


def configured_target(config: Config) -> URL:
    """Return the URL of the database that the environment or ``alembic.ini`` names.

    Raises:
        CommandError: The URL is not usable, or the embedded server cannot be started.
    """
    try:
        return connectable(database_url(configured_url(config)))
    except (DatabaseURLError, EmbeddedError) as error:
        raise CommandError(str(error)) from None
