import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.store import errors


@pytest.mark.parametrize("name", [n for n in dir(errors) if n.endswith("Error")])
def test_what_needs_somebodys_help_is_not_what_passes_by_itself(name: str) -> None:
    kind = getattr(errors, name)

    assert issubclass(kind, errors.StoreError)
    assert not issubclass(kind, StoreUnavailableError)
