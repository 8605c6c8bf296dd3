"""Libraries with their entries, the job's library, and what a candidate's measurement cost.

Revision 0002, after 0001. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SHA256 = sa.String(64)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_libraries()
    _create_entries()
    _add_to_jobs()
    _add_to_candidates()


def downgrade() -> None:
    for column in ("finish_compute", "evaluations", "rungs", "predicted", "compute"):
        op.drop_column("candidates", column)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index("ix_jobs_library_id")
        jobs.drop_constraint("fk_jobs_library_id", type_="foreignkey")
        jobs.drop_column("library_id")
    op.drop_table("library_entries")
    op.drop_table("libraries")


def _create_libraries() -> None:
    op.create_table(
        "libraries",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", SHA256, nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("teacher", SHA256, nullable=False),
        sa.Column("data", SHA256, nullable=False),
        sa.Column("recipe", JSON, nullable=False),
        sa.Column("teacher_cost", JSON, nullable=False),
        sa.Column("front", JSON),
        sa.Column("compute", sa.Double(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_expires_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_libraries"),
        sa.UniqueConstraint("key", name="uq_libraries_key"),
    )


def _create_entries() -> None:
    op.create_table(
        "library_entries",
        sa.Column("library_id", ID, nullable=False),
        sa.Column("block", NAME, nullable=False),
        sa.Column("option", NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rungs", sa.Integer(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("score_stderr", sa.Double()),
        sa.Column("score_images", sa.Integer()),
        sa.Column("flops", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("adds", sa.BigInteger(), nullable=False),
        sa.Column("weights", SHA256, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("library_id", "block", "option", name="pk_library_entries"),
        sa.ForeignKeyConstraint(
            ["library_id"],
            ["libraries.id"],
            name="fk_library_entries_library_id",
            ondelete="CASCADE",
        ),
    )


def _add_to_jobs() -> None:
    # A batch, as SQLite adds no constraint to a table that is there: it makes the table anew.
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("library_id", ID))
        jobs.create_foreign_key(
            "fk_jobs_library_id", "libraries", ["library_id"], ["id"], ondelete="SET NULL"
        )
        jobs.create_index("ix_jobs_library_id", ["library_id"])


def _add_to_candidates() -> None:
    # The defaults are for the rows that are there: the code gives both from now on.
    rungs = sa.Column("rungs", JSON, nullable=False, server_default=sa.text("'[]'"))
    evaluations = sa.Column("evaluations", sa.Integer(), nullable=False, server_default="0")
    op.add_column("candidates", sa.Column("compute", sa.Double()))
    op.add_column("candidates", sa.Column("predicted", sa.Double()))
    op.add_column("candidates", rungs)
    op.add_column("candidates", evaluations)
    op.add_column("candidates", sa.Column("finish_compute", sa.Double()))
    op.execute("UPDATE candidates SET evaluations = 1 WHERE state = 'complete'")
