"""What a message says to run can be run as it is."""

import re
import shlex
from collections.abc import Callable

import pytest
from sqlalchemy import make_url

from tests.support.alembic_cli import AlembicCli, Result
from verification import databases


@pytest.fixture
def odd_role(make_role: Callable[..., str]) -> str:
    """A role whose name needs quoting in SQL and in a shell."""
    return make_role(" Owner's")


def test_the_role_to_migrate_as(
    alembic_cli: AlembicCli, empty_database: str, odd_role: str, make_role: Callable[..., str]
) -> None:
    application = make_role()
    databases.execute(
        empty_database,
        f'GRANT ALL ON SCHEMA public TO "{odd_role}"',
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{odd_role}" GRANT SELECT ON TABLES TO {application}',
    )
    owner = databases.as_role(empty_database, odd_role)
    alembic_cli.run("upgrade", "head", database=owner).succeeded()
    message = alembic_cli.run("downgrade", "-1", database=empty_database).refusal()
    advice = re.search("`(-x role=.*?)`", message)
    assert advice, message
    arguments = shlex.split(advice[1])
    alembic_cli.run(*arguments, "downgrade", "-1", database=empty_database).succeeded()
    databases.execute(
        empty_database, f'DROP OWNED BY "{odd_role}"', f"DROP OWNED BY {application}"
    )


def test_the_grant_that_plan_advises(
    package_command: Callable[..., Result], empty_database: str, odd_role: str
) -> None:
    url = databases.as_role(empty_database, odd_role)
    plan = package_command("plan", database=url)
    advice = re.search(
        r"GRANT CREATE, USAGE ON SCHEMA public TO \"[^\"]*\"", " ".join(plan.stdout.split())
    )
    assert advice, plan.stdout
    databases.execute(empty_database, advice[0])
    assert package_command("plan", database=url).status == 0
    databases.execute(empty_database, f'DROP OWNED BY "{odd_role}"')
    assert make_url(url).username == odd_role
