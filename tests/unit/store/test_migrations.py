from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from bridge.store import migrations
from bridge.store.migrations import HEAD, revision
from tests.unit.store.world import database


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_new_database_is_at_head(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/bridge.db")
    with engine.connect() as connection:
        assert revision(connection) is None

    database(tmp_path).close()

    with engine.connect() as connection:
        assert revision(connection) == HEAD
    engine.dispose()
