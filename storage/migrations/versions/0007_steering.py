"""Priorities, where the time of a job went, and signs of life of workers.

Revision 0007, after 0006. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    # The defaults are for the rows that are there: the code gives both from now on.
    priority = sa.Column("priority", sa.Integer(), nullable=False, server_default="0")
    op.add_column("jobs", priority)
    op.add_column("jobs", sa.Column("queued_at", TIME))
    op.add_column("jobs", sa.Column("renewed_at", TIME))
    op.add_column("jobs", sa.Column("worked_s", sa.Double(), nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET queued_at = created_at")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("queued_at", nullable=False)
    op.create_index("ix_jobs_status_priority_id", "jobs", ["status", "priority", "id"])
    op.create_index("ix_candidates_finished_at_state", "candidates", ["finished_at", "state"])
    op.create_index("ix_candidates_job_id_finalist", "candidates", ["job_id", "finalist"])
    op.create_table(
        "job_times",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_times_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "phase", name="pk_job_times"),
    )
    op.create_table(
        "workers",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("gpus", JSON, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_workers"),
    )


def downgrade() -> None:
    op.drop_table("workers")
    op.drop_table("job_times")
    op.drop_index("ix_candidates_job_id_finalist", "candidates")
    op.drop_index("ix_candidates_finished_at_state", "candidates")
    op.drop_index("ix_jobs_status_priority_id", "jobs")
    for column in ("worked_s", "renewed_at", "queued_at", "priority"):
        op.drop_column("jobs", column)
