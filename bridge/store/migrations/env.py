"""Runs migrations on the connection it is given; Alembic looks for this file."""

from alembic import context

from bridge.store.records import SHELVES
from bridge.store.schema import metadata

assert SHELVES  # their tables belong to the metadata
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
    transactional_ddl=True,  # SQLite can, as we begin its transactions ourselves
)
context.run_migrations()
