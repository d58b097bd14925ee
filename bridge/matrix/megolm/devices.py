"""The devices of Matrix users: asked for once, and again when told of changes."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bridge.core.ports import Unit
from bridge.matrix.megolm.persons import Person, read
from bridge.matrix.megolm.ports import Json, KeyServer
from bridge.matrix.megolm.vault import Vault
from bridge.matrix.recent import Recent
from bridge.model.records import Record, Secret

logger = logging.getLogger(__name__)

OWNER = "devices"
PERSONS_MAX = 50_000
QUERY_MAX = 250
UNWATCHED_S = 300.0
"""How long the list of somebody holds of whose changes nobody tells us."""
FAILED_S, FAILED_S_MAX = 60.0, 3600.0
"""How long a homeserver that did not answer is left in peace, at first and at last."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Person).decode


class Devices:
    """Who has which devices.

    *version* changes whenever an answer may be another than before.
    """

    def __init__(self, server: KeyServer, vault: Vault) -> None:
        self.version = 0
        self._server = server
        self._vault = vault
        self._persons: Recent[str, Person] = Recent(PERSONS_MAX)
        self._asked: Recent[str, float] = Recent(PERSONS_MAX)
        self._silent: Recent[str, tuple[float, float]] = Recent(PERSONS_MAX)
        self._told: Recent[str, int] = Recent(PERSONS_MAX)
        self._lock = asyncio.Lock()
        self._doubted_at = -float("inf")

    async def of(
        self, users: Iterable[str], fresh_s: float | None = None
    ) -> dict[str, Person]:
        """Return what is known of *users*, asking for what is new.

        What was asked for longer than *fresh_s* ago is asked again.
        """
        persons = {user: await self.person(user) for user in users}
        if any(self._is_due(one, fresh_s) for one in persons.values()):
            async with self._lock:  # whoever waited finds it asked already
                due = [u for u in persons if self._is_due(persons[u], fresh_s)]
                due = [u for u in due if self._is_due(await self.person(u), fresh_s)]
                for start in range(0, len(due), QUERY_MAX):
                    await self._ask(due[start : start + QUERY_MAX])
            persons = {user: await self.person(user) for user in persons}
        return persons

    def doubt(self) -> None:
        """Ask for everybody again when next needed: changes may have gone untold."""
        self._doubted_at = time.monotonic()
        self.version += 1

    async def person(self, user: str) -> Person:
        """Return what is known of *user* without asking."""
        person = self._persons.get(user)
        if person is None:
            raw = await self._vault.find(OWNER, user)
            person = self._persons.get(user)
            if person is None:
                person = Person(user) if raw is None else _decode(raw)
                self._persons.put(user, person)
        return person

    async def announce(self, unit: Unit, users: Iterable[str]) -> None:
        """Note that the devices of *users* changed, or that nobody tells us any more.

        Nobody is asked before they are needed.
        """
        for user in users:
            person = await self.person(user)
            self._told.put(user, (self._told.get(user) or 0) + 1)
            self._silent.drop(user)
            if person.outdated:
                continue
            person.outdated = True
            self.version += 1
            unit.late.append(lambda user=user: self._records([user]))  # type: ignore[misc]

    async def refresh(self, user: str) -> Person:
        """Ask for the devices of *user* now."""
        return (await self.of([user], 0.0))[user]

    async def confirm(self, user: str) -> bool:
        """Pin the identity that *user* has now; False if it is the pinned one."""
        async with self._lock:
            person = await self.person(user)
            if not person.changed:
                return False
            self._keep(msgspec.structs.replace(person, pinned=person.master))
            await self._vault.commit(Unit(put=self._records([user])))
        logger.info("the new identity of %s is accepted", user)
        return True

    def _is_due(self, person: Person, fresh_s: float | None) -> bool:
        now = time.monotonic()
        silent = self._silent.get(person.user)
        if silent is not None and now < silent[0]:
            return False
        asked = self._asked.get(person.user)
        asked_at = -float("inf") if asked is None else asked
        if person.outdated or asked_at < self._doubted_at:
            return True
        return fresh_s is not None and now - asked_at >= fresh_s

    async def _ask(self, users: Sequence[str]) -> None:
        told = {user: self._told.get(user) for user in users}
        answer = await self._server.query_keys(users)
        failed = _failed(answer)
        now = time.monotonic()
        answered = []
        for user in users:
            if user.partition(":")[2] in failed:
                _, waited_s = self._silent.get(user) or (now, FAILED_S / 2)
                wait_s = min(2 * waited_s, FAILED_S_MAX)
                self._silent.put(user, (now + wait_s, wait_s))
                continue
            self._silent.drop(user)
            person = read(await self.person(user), answer)
            # What is announced while the answer is on its way may not be in it.
            person.outdated = self._told.get(user) != told[user]
            self._keep(person)
            self._asked.put(user, now)
            answered.append(user)
        await self._vault.commit(Unit(put=self._records(answered)))

    def _keep(self, person: Person) -> None:
        before = self._persons.get(person.user)
        if before is not None and person.changed and not before.changed:
            logger.warning("the identity of %s has changed", person.user)
        self._persons.put(person.user, person)
        self.version += 1

    def _records(self, users: Iterable[str]) -> list[Record]:
        found = ((user, self._persons.get(user)) for user in users)
        return [Secret(OWNER, u, _encode(one)) for u, one in found if one is not None]


def _failed(answer: Json) -> frozenset[str]:
    failures = answer.get("failures")
    return frozenset(failures) if isinstance(failures, Mapping) else frozenset()
