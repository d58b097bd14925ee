"""The tables that hold what is on its way, and what the store knows of itself.

The tables of the records are made in ``records``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from bridge.model.places import Network

WORDS = {network: network.value for network in Network}
"""What each network is called in the tables; asking an enum takes far longer."""

metadata = MetaData()

# In SQLite only a column of this very type is the table itself and not one more tree.
Number = BigInteger().with_variant(Integer, "sqlite")

inbox = Table(
    "inbox",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("network", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("room", Text, nullable=False),
    # Sealed; gone when the arrival is done. The row stays: its key is known for ever.
    Column("raw", LargeBinary),
    UniqueConstraint("network", "key", name="inbox_known"),
)
is_waiting = inbox.c.raw.is_not(None)
Index(
    "inbox_waiting",
    inbox.c.network,
    inbox.c.room,
    inbox.c.seq,
    sqlite_where=is_waiting,
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("network", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # sealed
    Column("receipt", LargeBinary),  # sealed; nothing if nobody waits
    Column("last", Boolean, nullable=False),
    Column("seq", Number, nullable=False),
    Column("portal", Number, nullable=False),
    Column("archived", Boolean, nullable=False),
    # What was sent is deleted, or kept if it is part of the room's history.
    Column("kept", Boolean, nullable=False, server_default=false()),
)
# The same words in index and query: else SQLite does not see that they match.
is_pending = outbox.c.kept == false()
is_kept = outbox.c.kept == true()
Index(
    "outbox_pending",
    outbox.c.network,
    outbox.c.lane,
    outbox.c.id,
    sqlite_where=is_pending,
)
Index(
    "outbox_kept",
    outbox.c.network,
    outbox.c.lane,
    outbox.c.id,
    sqlite_where=is_kept,
)

# One row: how often a bridge was started here, and which numbers may be in use.
instance = Table(
    "instance",
    metadata,
    Column("epoch", Number, nullable=False),
    Column("reserved", Number, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


def fit(dialect: Dialect) -> None:
    """Let the indexes of *dialect* cover no more rows than those of SQLite do.

    It is not named above, as what SQLAlchemy knows of it would be loaded: 2 MB.
    """
    if dialect.name == "postgresql":
        for table in metadata.tables.values():
            for index in table.indexes:
                where = index.dialect_kwargs.get("sqlite_where")
                index.dialect_kwargs["postgresql_where"] = where
