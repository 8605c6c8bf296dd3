"""What is known of an artifact beside its bytes.

Revision 0005, after 0004. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("details", JSON))


def downgrade() -> None:
    op.drop_column("artifacts", "details")
