from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.site import Site, new_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with new_site(tmp_path) as site:
        yield site
