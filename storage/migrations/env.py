"""Alembic's environment: runs the migrations on the connection that `schema.upgrade` hands over."""

from alembic import context

from pareconv.storage.schema import VERSION_TABLE, is_ours
from pareconv.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_object=is_ours,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
