"""Makes room for keys, and for what may leave in the clear."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table of secrets, and the word of a portal that allows plaintext."""
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
