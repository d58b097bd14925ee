"""Brings a database to the schema of this version."""

from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    insert,
    inspect,
    select,
)

from bridge.store.errors import SchemaTooNewError
from bridge.store.schema import fit, instance, metadata

HEAD = "0002"
"""The newest revision; a test sees to it that it is."""

_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True),
)


def migrate(connection: Connection) -> None:
    """Bring *connection*'s database to the newest schema, wholly or not at all.

    Alembic is loaded only to upgrade: that takes longer than the rest of a start,
    and what it has loaded stays in memory.
    """
    found = revision(connection)
    connection.rollback()
    if found == HEAD:
        return
    if found is None:
        fit(connection.dialect)
        with connection.begin():
            metadata.create_all(connection)
            _version.create(connection)
            connection.execute(insert(instance).values(epoch=0, reserved=0))
            connection.execute(insert(_version).values(version_num=HEAD))
        return
    upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run the migrations that *connection*'s database lacks."""
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent))
    known = {
        one.revision for one in ScriptDirectory.from_config(config).walk_revisions()
    }
    found = revision(connection)
    connection.rollback()
    if found is not None and found not in known:
        raise SchemaTooNewError(
            f"the database has schema {found}, made by a newer version of the bridge;"
            f" this one knows {HEAD}: start the newer version, or restore a backup"
        )
    with connection.begin():
        command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """Read the revision of a database; None if it is empty."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.scalar(select(_version.c.version_num))
