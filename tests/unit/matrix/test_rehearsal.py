import pytest

from bridge.matrix.client import MatrixError
from bridge.matrix.rehearsal import DEVICE, rehearse
from tests.homeserver import Fault
from tests.unit.matrix.world import GHOST, MatrixWorld


@pytest.mark.parametrize(("slides", "way"), [(True, "sliding sync"), (False, "/sync")])
async def test_it_is_told_how_keys_come(
    matrix: MatrixWorld, way: str, *, slides: bool
) -> None:
    matrix.server.users.add(GHOST)
    matrix.server.slides = slides

    assert await rehearse(matrix.homeserver, GHOST) == way
    assert (GHOST, DEVICE) not in matrix.server.keys.names


async def test_nothing_is_left_behind_where_it_cannot_be(matrix: MatrixWorld) -> None:
    matrix.server.users.add(GHOST)
    error = {"errcode": "M_UNRECOGNIZED", "error": "no"}
    matrix.server.faults.append(Fault("keys/upload", 404, error))

    with pytest.raises(MatrixError):
        await rehearse(matrix.homeserver, GHOST)

    assert (GHOST, DEVICE) not in matrix.server.keys.names
