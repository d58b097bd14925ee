"""What can keep the bridge from remembering, each with its remedy in one line.

    StoreError
    ├── AlreadyRunningError  another bridge has the database
    ├── RejectedError        the database does not accept a unit, now or later
    ├── SchemaTooNewError    a newer bridge has used the database
    ├── SealError            the key does not fit the database
    └── SupersededError      another bridge has begun to use the database

``StoreUnavailableError`` (in the ports) is what passes by itself.
"""


class StoreError(Exception):
    """The database cannot be used as things are."""


class AlreadyRunningError(StoreError):
    """Another bridge works with this database."""


class RejectedError(StoreError):
    """A unit can never be written: it holds what the database does not accept."""


class SchemaTooNewError(StoreError):
    """The database was last used by a newer version of the bridge."""


class SealError(StoreError):
    """What is sealed in the database cannot be opened with this key."""


class SupersededError(StoreError):
    """A later epoch has begun: what we write counts no more."""

    def __init__(self) -> None:
        super().__init__(
            "another bridge has used the database meanwhile: stop one of the two"
        )
