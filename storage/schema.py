"""The schema's revision: which one a database has, and the way up to the newest. Knows Alembic.

A new revision is a file in `migrations/versions`; the test that models and migrations agree fails
until it is there. Optuna's tables share the database and are none of ours.
"""

import threading
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from pareconv.storage.errors import SchemaMismatch
from pareconv.storage.tables import Base

# Optuna stamps `alembic_version` in the same database.
VERSION_TABLE = "pareconv_alembic_version"

# Alembic hands the running migration to its scripts through a global of its own.
_alembic = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest revision, inside the connection's transaction.

    Raises SchemaMismatch when the database has a revision that this code does not know.
    """
    config = Config()
    config.set_main_option("script_location", "pareconv.storage:migrations")
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    found = revision(connection)
    if found not in {None, *(known.revision for known in script.walk_revisions())}:
        raise SchemaMismatch(str(found), script.get_current_head())
    with _alembic:
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """The revision that the database has; None before the first migration."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def is_ours(
    thing: object,  # noqa: ARG001 - the signature is Alembic's `include_object`
    name: str | None,
    kind: str,
    reflected: bool,
    counterpart: Any,
) -> bool:
    """Whether a comparison of models and database should look at it: tables of others are left."""
    is_foreign = reflected and counterpart is None and name not in Base.metadata.tables
    return kind != "table" or not is_foreign
