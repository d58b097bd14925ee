"""Brings a database to the schema of this version."""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from bridge.store.errors import SchemaTooNewError

HEAD = "0001"
"""The newest revision; a test sees to it that it is."""

_version = Table("alembic_version", MetaData(), Column("version_num", String(32)))


def migrate(connection: Connection) -> None:
    """Run the migrations that *connection*'s database lacks, all or none."""
    if revision(connection) == HEAD:
        connection.rollback()
        return
    # Loading Alembic takes longer than the rest of the start.
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
