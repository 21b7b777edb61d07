"""${message.rstrip(".")}.

Why: <why the application needs this>
Locks: <none, or: ACCESS EXCLUSIVE on trades, for milliseconds; the suite prints the line to paste>
Downgrade: <keeps all data, or: loses trades.note, orders>

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# Where the defaults (docs/operations.md, "Settings") do not fit this revision:
# timeouts = {"lock_timeout": "500ms", "lock_attempts": "12", "hold_timeout": "10s"}


def upgrade() -> None:
    """Apply <what changes>."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo <what changes>."""
    ${downgrades if downgrades else "pass"}
