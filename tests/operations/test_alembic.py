"""Alembic's commands work from the command line and from an application."""

import logging
import re
import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import inspect

from tests.operations.landed import HEAD, HISTORY, PROJECT
from tests.support import commandline
from tests.support.alembic_cli import AlembicCli
from tests.support.probe_revisions import Revisions
from tests.trading_bot import ROOT
from trading_bot_schema.url import parse, rendered
from verification import databases


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("history", f"{HEAD} (head)"),
        ("upgrade head --sql", "CREATE TABLE trades ("),
        ("downgrade head:base --sql", "DROP TABLE trades;"),
    ],
)
def test_history_and_sql_need_no_database(
    alembic_cli: AlembicCli, arguments: str, output: str
) -> None:
    alembic_cli.run(*arguments.split(), database="nonsense").succeeded(output)


PROBE = """

    from typing import Any
    from sqlalchemy import ARRAY, Interval, TypeDecorator
    from sqlalchemy.dialects.postgresql import INT4RANGE, JSONB
    from sqlalchemy.types import UserDefinedType
    from models.base import AwareDateTime, Timestamp

    class Bits(UserDefinedType[str]):
        cache_ok = True

        def get_col_spec(self, **_: object) -> str:
            return "bit(3)"

    def decorated(impl: Any, base: Any = TypeDecorator) -> Any:
        return type("Decorated", (base,), {"impl": impl, "cache_ok": True})

    probe: Mapped[str | None] = mapped_column(String(100), index=True,
        comment="The \\"name\\" that is shown to other users, in a comment of some length.")
    probed_at: Mapped[Timestamp | None]
    bits: Mapped[Any] = mapped_column(Bits, nullable=True)
    decorated_bits: Mapped[Any] = mapped_column(decorated(Bits), nullable=True)
    document: Mapped[Any] = mapped_column(decorated(JSONB), nullable=True)
    span: Mapped[Any] = mapped_column(decorated(decorated(INT4RANGE)), nullable=True)
    times: Mapped[Any] = mapped_column(ARRAY(AwareDateTime), nullable=True)
    pause: Mapped[Any] = mapped_column(Interval, nullable=True)
    wait: Mapped[Any] = mapped_column(decorated(Interval), nullable=True)

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
User.__table__.append_constraint(CheckConstraint("probe <> 'x'", name="probe_known"))
User.__table__.append_constraint(UniqueConstraint("probe", name="uq_probe"))
Index("ix_probe", User.__table__.c.probed_at)
"""
MESSAGES = ('Say """this""" or \\N', '"', "", None)
DRAFTS = f"""
import time_machine
from alembic import command
from alembic.config import Config

config = Config("alembic.ini")
command.revision(config, 'Add a "probe"', autogenerate=True)
command.upgrade(config, "head")
command.check(config)
command.downgrade(config, "-1")
command.upgrade(config, "head", sql=True)
for second, message in enumerate({MESSAGES!r}):
    with time_machine.travel(f"2199-12-31T23:59:0{{second}}Z", tick=False):
        command.revision(config, message, rev_id="dcba"[second])
command.upgrade(config, "head")
"""
TITLES = [
    "r\"\"\"Say '''this''' or \\N.",
    '"""\'.',
    '"""TODO: what it does.',
    '"""TODO: what it does.',
]


def test_drafts_run_as_they_are(todays_database: str, tmp_path: Path) -> None:
    for name in ("alembic", "models", "trading_bot_schema"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    versions = tmp_path / "alembic" / "versions"
    earlier = {*versions.glob("*.py")}
    with (tmp_path / "models" / "user.py").open("a") as file:
        file.write(PROBE)
    (tmp_path / "drafts.py").write_text(DRAFTS)
    commandline.run("drafts.py", cwd=tmp_path, DATABASE_URL=todays_database).succeeded()
    probe, *empty = [path.read_text() for path in sorted({*versions.glob("*.py")} - earlier)]
    for drafted in (
        'sa.Column("probed_at", sa.DateTime(timezone=True), nullable=True)',
        'op.create_index(op.f("ix_users_probe")',
        'op.create_check_constraint(op.f("ck_users_probe_known"), "users"',
        'op.create_unique_constraint(op.f("uq_probe"), "users"',
        'op.create_index(op.f("ix_probe"), "users"',
        'op.drop_index(op.f("ix_probe"), table_name="users")',
    ):
        assert drafted in probe
    assert "###" not in probe
    assert [content.partition("\n")[0] for content in empty] == TITLES
    assert all("import sqlalchemy as sa\nfrom alembic import op\n" in each for each in empty)
    for check in (("format", "--check"), ("check",)):
        commandline.run("ruff", *check, str(versions), cwd=tmp_path).succeeded()


@pytest.mark.parametrize("percent", ["%", "%%"])
def test_percent_signs_in_the_configured_url(
    alembic_cli: AlembicCli, revisions: Revisions, database: str, percent: str
) -> None:
    # In the configuration as in a shell: libpq options, percent-encoded. Doubled signs, as in
    # Alembic's documentation, are equivalent.
    configured = rendered(parse(database).set(password="p@ss")).replace("%", percent)
    ini = Path(revisions.ini)
    ini.write_text(
        re.sub("(?m)^sqlalchemy.url.*", f"sqlalchemy.url = {configured}", ini.read_text())
    )
    alembic_cli.run("-c", revisions.ini, "current").succeeded("(head)")


def test_a_callers_transaction(empty_database: str) -> None:
    with databases.sync_engine(empty_database).connect() as connection, connection.begin() as own:
        config = PROJECT.config(connection)
        command.upgrade(config, HISTORY[0].revision)
        assert inspect(connection).get_table_names()
        with pytest.raises(CommandError, match="does not run in a transaction that its caller"):
            command.upgrade(config, "head")
        own.rollback()
    assert inspect(databases.sync_engine(empty_database)).get_table_names() == []


def test_the_applications_loggers_are_unchanged(empty_database: str) -> None:
    logger = logging.getLogger("an.application")
    before = (logging.root.level, list(logging.root.handlers), logger.disabled)
    PROJECT.migrate(empty_database)
    assert (logging.root.level, list(logging.root.handlers), logger.disabled) == before
