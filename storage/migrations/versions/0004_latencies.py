"""Latency tables, the latency of a candidate's plan, and those measured of finalists.

Revision 0004, after 0003. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SHA256 = sa.String(64)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "latency_tables",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", SHA256, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("versions", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_latency_tables"),
        sa.UniqueConstraint("key", name="uq_latency_tables_key"),
    )
    op.create_table(
        "latencies",
        sa.Column("table_id", ID, nullable=False),
        sa.Column("key", SHA256, nullable=False),
        sa.Column("option", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False),
        sa.Column("ms", sa.Double(), nullable=False),
        sa.Column("kept_ms", sa.Double(), nullable=False),
        sa.Column("spread_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("table_id", "key", name="pk_latencies"),
        sa.ForeignKeyConstraint(
            ["table_id"], ["latency_tables.id"], name="fk_latencies_table_id", ondelete="CASCADE"
        ),
    )
    op.add_column("candidates", sa.Column("latency_ms", sa.Double()))
    latencies = sa.Column("latencies", JSON, nullable=False, server_default=sa.text("'[]'"))
    op.add_column("candidates", latencies)


def downgrade() -> None:
    for column in ("latencies", "latency_ms"):
        op.drop_column("candidates", column)
    op.drop_table("latencies")
    op.drop_table("latency_tables")
