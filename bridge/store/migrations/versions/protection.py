"""Makes room for keys, for what may leave in the clear, and for dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the new tables, and the word of a portal that allows plaintext."""
    op.create_table(
        "secret",
        sa.Column("owner", sa.Text, nullable=False, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "portal",
        sa.Column("exposed", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "deadletter",
        _number("id", primary_key=True),
        *(_text(name) for name in ("network", "lane")),
        _number("portal"),
        *(_text(name) for name in ("room", "why")),
        *(_number(name) for name in ("died_ms", "seq")),
        *(_sealed(name) for name in ("receipt", "detail", "wires")),
    )
    op.create_table("wish", _number("letter", primary_key=True), _text("verb"))


def _number(name: str, *, primary_key: bool = False) -> "sa.Column[int]":
    return sa.Column(
        name, NUMBER, nullable=False, primary_key=primary_key, autoincrement=False
    )


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


def _sealed(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary, nullable=False)
