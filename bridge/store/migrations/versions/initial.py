"""Makes the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    _make_inbox()
    _make_outbox()
    _make_own()
    _make_portal()
    _make("ghost", ("mxid",), "person", "name")
    _make("presence", ("room", "mxid"), "name")
    _make("occupant", ("room", "jid"), "nick")
    _make("puppet", ("muc", "mxid"), "nick", _flag("joined"))
    _make("cursor", ("kind", "key"), "value")
    _make("alias", ("network", "ref"), _number("portal"), _number("seq"), "author")


def _make_inbox() -> None:
    op.create_table(
        "inbox",
        _number("seq", primary_key=True),
        _text("network"),
        _text("key"),
        _text("room"),
        sa.Column("raw", sa.LargeBinary),
        sa.UniqueConstraint("network", "key", name="inbox_known"),
    )
    waiting = sa.text("raw IS NOT NULL")
    op.create_index(
        "inbox_waiting",
        "inbox",
        ["network", "room", "seq"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        _number("id", primary_key=True),
        _text("network"),
        _text("lane"),
        _text("key"),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("receipt", sa.LargeBinary),
        _flag("last"),
        _number("seq"),
        _number("portal"),
        _flag("archived"),
        sa.Column("kept", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    for name, number, truth in (("pending", "0", "false"), ("kept", "1", "true")):
        op.create_index(
            f"outbox_{name}",
            "outbox",
            ["network", "lane", "id"],
            sqlite_where=sa.text(f"kept = {number}"),
            postgresql_where=sa.text(f"kept = {truth}"),
        )


def _make_own() -> None:
    instance = op.create_table("instance", _number("epoch"), _number("reserved"))
    op.bulk_insert(instance, [{"epoch": 0, "reserved": 0}])
    op.create_table(
        "meta",
        _text("name", primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def _make_portal() -> None:
    op.create_table(
        "portal",
        _number("id", primary_key=True),
        *(_text(name) for name in ("kind", "matrix", "xmpp", "agent")),
        *(_text(name) for name in ("alias", "name", "topic", "via")),
        _flag("encrypted"),
    )


def _make(
    name: str, key: tuple[str, ...], *others: "str | sa.Column[bool] | sa.Column[int]"
) -> None:
    op.create_table(
        name,
        *(_text(part, primary_key=True) for part in key),
        *(_text(other) if isinstance(other, str) else other for other in others),
        sqlite_with_rowid=False,
    )


def _text(name: str, *, primary_key: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False, primary_key=primary_key)


def _number(name: str, *, primary_key: bool = False) -> "sa.Column[int]":
    return sa.Column(
        name,
        NUMBER,
        nullable=False,
        primary_key=primary_key,
        autoincrement=False,  # the numbers are ours
    )


def _flag(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean, nullable=False)
