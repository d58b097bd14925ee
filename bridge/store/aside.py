"""What another process does with a database while the bridge uses it.

It takes no lock: it reads what is committed, and writes only wishes, which the bridge
looks for.
"""

from collections.abc import Sequence
from typing import Self

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DBAPIError

from bridge.core.ports import StoreUnavailableError
from bridge.model.records import DeadLetter, Wish
from bridge.store import letters
from bridge.store.driver import reason
from bridge.store.engine import file_of, parse, reader_engine, writer_engine
from bridge.store.errors import StoreError
from bridge.store.migrations import HEAD, revision
from bridge.store.records import shelf
from bridge.store.seal import Seal

PAGE = 500

_wishes = shelf(Wish).table


class Aside:
    """A look at the database at *url*, which is sealed with *key*.

    Raises ``StoreError`` or ``StoreUnavailableError``.
    """

    def __init__(self, url: str, key: bytes) -> None:
        where = parse(url)
        self._seal = Seal(key)
        file = file_of(where)
        if file is not None and not file.exists():
            raise StoreError(f"there is no database at {file} yet")
        self._reader = reader_engine(where)
        self._writer = writer_engine(where)

    def __enter__(self) -> Self:
        try:
            with self._reader.connect() as connection:
                found = revision(connection)
        except DBAPIError as error:
            raise StoreUnavailableError(reason(error)) from error
        if found != HEAD:
            raise StoreError(
                f"the database has schema {found}, this version knows {HEAD}: use the"
                " version that runs the bridge, or run it in this one first"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.dispose()
        self._writer.dispose()

    def letters(self) -> Sequence[DeadLetter]:
        """Read all dead letters, by id."""
        found: list[DeadLetter] = []
        with self._reader.connect() as connection:
            while page := letters.page(
                connection, self._seal, "", found[-1].id if found else 0, PAGE
            ):
                found += page
        return found

    def letter(self, number: int) -> DeadLetter | None:
        """Read a dead letter."""
        with self._reader.connect() as connection:
            return shelf(DeadLetter).find(connection, self._seal, (number,))

    def wish(self, letter: int, verb: str) -> None:
        """Ask the bridge to *verb* a letter; the last word counts."""
        with self._writer.begin() as connection:
            connection.execute(delete(_wishes).where(_wishes.c.letter == letter))
            connection.execute(insert(_wishes).values(letter=letter, verb=verb))

    def is_granted(self, letter: int) -> bool:
        """Tell whether the bridge has seen the wish about a letter."""
        with self._reader.connect() as connection:
            query = select(_wishes.c.letter).where(_wishes.c.letter == letter)
            return connection.scalar(query) is None
