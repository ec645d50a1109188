"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("admin_password", sa.String(200)),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_study"),
    )
    op.create_table(
        "listeners",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("code_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("language", sa.String(40), nullable=False),
        sa.Column("group_id", sa.String(200)),
        sa.Column("list_index", sa.Integer()),
        sa.Column("started", sa.String(20), nullable=False),
        sa.Column("step", sa.String(20), nullable=False),
        sa.Column("headphones", sa.Boolean()),
        sa.Column("headphone_tries", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("listeners_by_group", "listeners", ["group_id", "list_index"])
    op.create_table(
        "background",
        _listener(),
        sa.Column("question", sa.String(200), primary_key=True),
        sa.Column("answer", sa.String(200)),
    )
    op.create_table(
        "trials",
        _listener(),
        sa.Column("trial", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("plays", sa.Integer(), nullable=False),
        sa.Column("point", sa.Integer()),
    )
    op.create_table(
        "ratings",
        _listener(),
        sa.Column("trial", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("item", sa.String(200), primary_key=True),
        sa.Column("rating", sa.Integer(), nullable=False),
    )
    op.create_table(
        "turing",
        _listener(),
        sa.Column("trial", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("said_human", sa.Boolean(), nullable=False),
        sa.Column("confidence", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text()),
    )


def _listener() -> sa.Column[int]:
    return sa.Column(
        "listener_id",
        sa.Integer(),
        sa.ForeignKey("listeners.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
