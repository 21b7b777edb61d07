"""A rehearsal measures what the application waits for, on a copy only."""

from collections.abc import Callable, Collection

import pytest
from sqlalchemy import make_url

from tests.support import data
from tests.support.probe_revisions import Revisions
from tests.trading_bot import HISTORY
from tools.measure.rehearse import report
from tools.measure.rehearse.__main__ import main
from tools.measure.rehearse.canaries import HOT, READ, TABLES, WRITE
from tools.measure.rehearse.rehearsal import Rehearsal, rehearse
from verification import Databases, databases

TRADES = 300
# Holds the lock until statements of the application wait for it, for a limited time.
BLOCK = """
op.execute("LOCK TABLE {table} IN {lock} MODE")
waiting = sa.text(
    "SELECT count(DISTINCT application_name) FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE NOT granted AND relation = '{table}'::regclass"
    " AND application_name LIKE '%{table}' AND waitstart < clock_timestamp() - interval '100 ms'"
)
for _ in range(3000):
    if op.get_bind().scalar(waiting) >= {number}:
        break
    op.execute("SELECT pg_sleep(0.01)")
"""


@pytest.fixture
def dataset(database: str) -> data.Dataset:
    dataset = data.Dataset(users=50, bots=100, running=50, period=TRADES)
    data.fill(database, dataset)
    data.fill_trades(database, dataset, 0, TRADES)
    return dataset


@pytest.fixture
def run(database: str, revisions: Revisions, dataset: data.Dataset) -> Callable[..., Rehearsal]:
    """Rehearse revisions, by their names."""

    def run(*names: str, without: Collection[str] = ()) -> Rehearsal:
        return rehearse(
            database,
            revisions.config,
            dict.fromkeys(names, "A probe."),
            dataset,
            TRADES,
            rate=20,
            settle=0.5,
            without=without,
        )

    return run


def trades(url: str) -> int:
    return int(databases.scalar(url, "SELECT count(*) FROM trades"))


@pytest.mark.parametrize(
    ("lock", "number", "blocked"),
    [
        ("ACCESS EXCLUSIVE", 2, {f"{READ} users", f"{WRITE} users"}),
        ("SHARE", 1, {f"{WRITE} users"}),
    ],
)
def test_what_a_dangerous_revision_blocks(
    lock: str, number: int, blocked: set[str], revisions: Revisions, run: Callable[..., Rehearsal]
) -> None:
    revisions.add("probe", BLOCK.format(table="users", lock=lock, number=number))
    rehearsal = run("probe")
    (step,) = rehearsal.steps
    assert step.error is None
    assert {name for name in step.blocked if "users" in name} == blocked
    # Measured by samples, so slightly shorter than measured by the application.
    assert all(step.blocked[name] > 0 for name in blocked)
    assert all(max(rehearsal.during(step, name)) >= 0.1 for name in blocked)
    assert any("LOCK TABLE users" in statement.sql for statement in step.statements)
    text = "\n".join([*report.steps(rehearsal), *report.tables(rehearsal)])
    assert "ms, users" in text


def test_a_revision_that_blocks_no_query(
    revisions: Revisions, run: Callable[..., Rehearsal], database: str
) -> None:
    before = trades(database)
    revisions.add("probe", 'op.add_column("users", sa.Column("note", sa.Text))')
    rehearsal = run("probe")
    (step,) = rehearsal.steps
    assert rehearsal.failures(step) == 0
    assert step.wal_bytes > 0
    assert databases.version(database) == "probe"
    for name in (HOT, *(f"{access} {table}" for access in (READ, WRITE) for table in TABLES)):
        assert rehearsal.before(step, name)
    assert trades(database) > before


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("dropped", ["trades.commission_asset", "trades"])
def test_code_that_uses_a_dropped_object_fails(
    dropped: str, deployed: bool, revisions: Revisions, run: Callable[..., Rehearsal]
) -> None:
    table, _, column = dropped.partition(".")
    drop = f'op.drop_column("{table}", "{column}")' if column else f'op.drop_table("{table}")'
    revisions.add("probe", drop)
    rehearsal = run("probe", without={dropped} if deployed else ())
    (step,) = rehearsal.steps
    assert step.error is None
    assert (rehearsal.failures(step) == 0) == deployed
    assert (f"{WRITE} trades" in rehearsal.samples) == (not deployed or column != "")


def test_a_revision_that_fails_is_the_last(
    revisions: Revisions, run: Callable[..., Rehearsal]
) -> None:
    revisions.add("probe_1", 'op.execute("SELECT 1 / 0")')
    revisions.add("probe_2", "pass")
    (step,) = run("probe_1", "probe_2").steps
    assert step.error is not None
    assert "division by zero" in step.error


def test_the_command_on_a_copy(database_at: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    copy = database_at.at(HISTORY[0].revision)
    databases.execute(copy, "INSERT INTO users (email, hashed_password) VALUES ('a', 'b')")
    main(["--scratch", copy, "--settle", "0.3", "--rate", "20"])
    assert f"`{HISTORY[-1].revision}`" in capsys.readouterr().out
    assert databases.version(copy) == HISTORY[-1].revision


def test_the_applications_database_is_refused(
    database_at: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(database_at.at(HISTORY[0].revision))
    # Another form of the same URL.
    other = url.update_query_dict({"application_name": "application"})
    monkeypatch.setenv("DATABASE_URL", other.render_as_string(hide_password=False))
    text = url.render_as_string(hide_password=False)
    with pytest.raises(SystemExit, match="--scratch names the database of DATABASE_URL"):
        main(["--scratch", text])
    assert databases.version(text) == HISTORY[0].revision
    assert trades(text) == 0


def test_nothing_to_run(database: str) -> None:
    with pytest.raises(SystemExit, match="has nothing to run"):
        main(["--scratch", database])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trades", "0"], "'0' should be numbers from 1"),
        (["--scratch", "postgresql://h", "--write"], "--forms and --write need generated data"),
    ],
)
def test_bad_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_an_unknown_revision(database: str) -> None:
    with pytest.raises(SystemExit, match="ERROR No such revision or branch 'nosuch'"):
        main(["--scratch", database, "--to", "nosuch"])
