"""Tokens, and whose a job, an upload or a latency table is.

Revision 0006, after 0005. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)

# What was unique in each table, and is so among what is one token's from now on.
UNIQUE = {
    "jobs": "idempotency_key",
    "teachers": "sha256",
    "datasets": "sha256",
    "latency_tables": "key",
}


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("owner_id", ID, nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    for table, column in UNIQUE.items():
        # What is there already is nobody's: who sees all sees it.
        with op.batch_alter_table(table) as altered:
            altered.add_column(sa.Column("token_id", ID, nullable=False, server_default=""))
            altered.drop_constraint(f"uq_{table}_{column}", type_="unique")
            altered.create_unique_constraint(f"uq_{table}_{column}_token_id", [column, "token_id"])
    op.create_index("ix_jobs_token_id_id", "jobs", ["token_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_token_id_id", "jobs")
    _make_unique_again()
    for table, column in UNIQUE.items():
        with op.batch_alter_table(table) as altered:
            altered.drop_constraint(f"uq_{table}_{column}_token_id", type_="unique")
            altered.create_unique_constraint(f"uq_{table}_{column}", [column])
            altered.drop_column("token_id")
    op.drop_table("tokens")


def _make_unique_again() -> None:
    """Of what several tokens have the oldest stays; of jobs all do, without the later keys."""
    for table, column in UNIQUE.items():
        later = (
            f"{column} IS NOT NULL AND EXISTS (SELECT 1 FROM {table} AS first "
            f"WHERE first.{column} = {table}.{column} AND first.id < {table}.id)"
        )
        if table == "jobs":
            op.execute(f"UPDATE jobs SET idempotency_key = NULL WHERE {later}")
        else:
            op.execute(f"DELETE FROM {table} WHERE {later}")
