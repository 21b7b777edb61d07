"""What :mod:`verification` needs to know of this project."""

import inspect
from pathlib import Path

from sqlalchemy import select

from models import Base, BotConfig, BotState, BotStatus, Trade, User
from models.database import make_engine
from models.queries import user_by_email
from tests.rows import ROWS
from tests.workload import BotWorkload
from verification import Project

ROOT = Path(__file__).resolve().parents[1]

PROJECT = Project(
    root=ROOT,
    ini=ROOT / "alembic.ini",
    metadata=Base.metadata,
    rows=ROWS,
    rows_file="tests/rows.py",
    engine=make_engine,
    guide=ROOT / "docs" / "recipes.md",
    sealed=ROOT / "alembic" / "versions.sum",
    roles=ROOT / "docs" / "roles.sql",
    model_files={
        mapper.class_.__tablename__: str(Path(inspect.getfile(mapper.class_)).relative_to(ROOT))
        for mapper in Base.registry.mappers
    },
    workload=BotWorkload(),
    tests=(
        "tests/schema/test_specification.py",
        "tests/schema/test_constraints.py",
        "tests/schema/test_migrations_match_models.py::test_models_and_migrations",
        "tests/schema/test_pytest_alembic.py::test_all_models_register_on_metadata",
        "tests/application/test_accounts.py::test_each_personal_column_is_erased",
    ),
    queries={
        "user by email": user_by_email(ROWS["users"][1]["email"]).with_only_columns(User.id),
        "trade by order": select(Trade.id).where(
            Trade.binance_order_id == ROWS["trades"][0]["binance_order_id"]
        ),
        "running bots": select(BotState.id).where(BotState.status == BotStatus.RUNNING),
        "markets": select(BotConfig.id).where(
            BotConfig.symbol == ROWS["bot_configs"][0]["symbol"]
        ),
    },
)
HISTORY, HEAD = PROJECT.history, PROJECT.head
