"""Tells what is wrong with a unit from what is wrong with the database."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from bridge.core.ports import StoreUnavailableError

_PROGRAM_LIMIT_EXCEEDED = "54"  # e.g. a key that is too long for PostgreSQL's indexes


def is_fault_of_unit(error: Exception) -> bool:
    """Tell whether trying again would fail again, and only for one unit."""
    if isinstance(error, StoreUnavailableError):
        return False
    if isinstance(error, (DataError, IntegrityError, ProgrammingError)):
        return not error.connection_invalidated
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return state.startswith(_PROGRAM_LIMIT_EXCEEDED)
    return True


def reason(error: Exception) -> str:
    """Say in one line, without what people said, what is wrong."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0]
