"""The first tables: jobs with their events, candidates and artifacts; teachers and data sets.

Revision 0001, after none. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
WORD = sa.String(16)


def upgrade() -> None:
    _create_jobs()
    _create_events()
    _create_candidates()
    _create_artifacts()
    _create_uploads("teachers")
    _create_uploads("datasets")


def downgrade() -> None:
    for table in ("datasets", "teachers", "artifacts", "candidates", "job_events", "jobs"):
        op.drop_table(table)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("status", WORD, nullable=False),
        sa.Column("stage", WORD),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("resolved", JSON),
        sa.Column("profile", JSON),
        sa.Column("error", JSON),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_expires_at", TIME),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("candidates_version", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_hash", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])


def _create_events() -> None:
    op.create_table(
        "job_events",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("level", WORD, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_job_events"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_events_job_id", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job_id_seq", "job_events", ["job_id", "seq"])


def _create_candidates() -> None:
    op.create_table(
        "candidates",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("flops", sa.BigInteger(), nullable=False),
        sa.Column("adds", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("accuracy", sa.Double()),
        sa.Column("accuracy_stderr", sa.Double()),
        sa.Column("loss", sa.Double()),
        sa.Column("seconds", sa.Double()),
        sa.Column("images", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
        sa.Column("retry_of", sa.Integer()),
        sa.Column("checkpoint", sa.String(64)),
        sa.Column("finalist", sa.Boolean(), nullable=False),
        sa.Column("finish_accuracy", sa.Double()),
        sa.Column("test_accuracy", sa.Double()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_candidates"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_candidates_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_candidates_job_id_state", "candidates", ["job_id", "state"])


def _create_artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "number", "format", name="pk_artifacts"),
        sa.ForeignKeyConstraint(
            ["job_id", "number"],
            ["candidates.job_id", "candidates.number"],
            name="fk_artifacts_job_id_number",
            ondelete="CASCADE",
        ),
    )


def _create_uploads(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("sha256", name=f"uq_{table}_sha256"),
    )
