"""When the stage of a job and the job should be done.

Revision 0009, after 0008. Types are spelt out: a later change of the models must not change it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
_COLUMNS = "stage_eta", "eta"


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("jobs", sa.Column(name, TIME))


def downgrade() -> None:
    for name in _COLUMNS:
        op.drop_column("jobs", name)
