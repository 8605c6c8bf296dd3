"""Weights that an entry of a library had before, which a running job may still draw on.

Revision 0008, after 0007. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replaced_weights",
        sa.Column("library_id", ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("library_id", "sha256", name="pk_replaced_weights"),
        sa.ForeignKeyConstraint(
            ["library_id"],
            ["libraries.id"],
            name="fk_replaced_weights_library_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("replaced_weights")
