"""Dead letters: what did not arrive, until somebody sends it again or it is too old."""

from collections.abc import Sequence

from sqlalchemy import BindParameter, Connection, bindparam, or_, select

from bridge.model.records import DeadLetter
from bridge.store.records import shelf
from bridge.store.seal import Seal

_table = shelf(DeadLetter).table
_lane: BindParameter[str] = bindparam("lane")
_PAGE = (
    select(_table)
    .where(_table.c.id > bindparam("after"), or_(_lane == "", _table.c.lane == _lane))
    .order_by(_table.c.id)
    .limit(bindparam("limit"))
)


def page(
    connection: Connection, seal: Seal, lane: str, after: int, limit: int
) -> Sequence[DeadLetter]:
    """Read the dead letters of a lane, of all lanes if it is empty, by id."""
    asked = {"lane": lane, "after": after, "limit": limit}
    return shelf(DeadLetter).read(connection, seal, _PAGE, asked)
