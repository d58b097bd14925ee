from collections.abc import AsyncIterator

import pytest

from tests.unit.matrix.world import MatrixWorld, matrix_world


@pytest.fixture
async def matrix() -> AsyncIterator[MatrixWorld]:
    async with matrix_world() as world:
        yield world
