"""The migrations, in a checkout and in an installed package alike.

``python -m models.migrations upgrade head`` is the command ``alembic upgrade head`` for where
there is no checkout to stand in, such as a container image; all of Alembic's commands work.
"""

from argparse import Namespace

from alembic.config import CommandLine, Config

from models.url import DEFAULT_URL, INSTALLED, PACKAGE


def alembic_config(options: Namespace | None = None) -> Config:
    """Return Alembic's configuration, for its functions: ``command.upgrade(config, "head")``.

    ``options`` are those of Alembic's command line.
    """
    config = Config(
        (INSTALLED if INSTALLED.exists() else PACKAGE.parent) / "alembic.ini",
        ini_section=options.name if options else "alembic",
        cmd_opts=options,
    )
    if INSTALLED.exists():
        # The file's own would be a server with its data among the installed packages.
        config.set_main_option("sqlalchemy.url", DEFAULT_URL)
    return config


def main() -> None:
    """Run one of Alembic's commands."""
    command_line = CommandLine(prog="python -m models.migrations")
    options = command_line.parser.parse_args()
    if "cmd" not in options:
        command_line.parser.error("too few arguments")
    if options.config:
        command_line.parser.error("-c is for the command alembic; here the package's own counts")
    command_line.run_cmd(alembic_config(options), options)


if __name__ == "__main__":
    main()
