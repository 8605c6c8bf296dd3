"""Students that are asked for, and searches that go on: of jobs that had succeeded.

Revision 0003, after 0002. Types are spelt out: a later change of the models must not
change it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("candidates", sa.Column("wanted", JSON))
    op.add_column("jobs", sa.Column("extension", JSON))


def downgrade() -> None:
    op.drop_column("jobs", "extension")
    op.drop_column("candidates", "wanted")
