"""The bridge's OMEMO in a world of memory."""

from xml.etree.ElementTree import Element, SubElement

from bridge.core.ports import Unit
from bridge.model.records import Record
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import Opened, Passage, Plain, Sealed, Unsealable
from bridge.xmpp.muc.stanza import STREAM, to_element
from bridge.xmpp.omemo.means import OmemoMeans
from bridge.xmpp.omemo.names import (
    LEGACY,
    LEGACY_DEVICES,
    bundle_item,
)
from bridge.xmpp.omemo.service import Omemo
from tests.fakes_store import Disk, FakeStore
from tests.unit.xmpp.omemo.people import (
    ALICE,
    BOB,
    CANARY,
    JULIET,
    PUBSUB,
    ROMEO,
    Pep,
    Person,
    sce,
    text,
)

__all__ = (
    "ALICE",
    "BOB",
    "CANARY",
    "JULIET",
    "PUBSUB",
    "ROMEO",
    "Person",
    "World",
    "passage",
    "sce",
    "text",
)


_records: dict[tuple[object, ...], Record] = {}


class World:
    """The bridge, its store, and what it has written."""

    def __init__(self, disk: Disk | None = None, pep: Pep | None = None) -> None:
        self.pep = pep or Pep()
        self.store = FakeStore(disk)
        self.posts: list[Node] = []
        self.announced: list[tuple[str, str]] = []
        self.begged: list[tuple[str, str]] = []
        self.existing = {ALICE, BOB}
        self.count = 0
        self.relay = ""
        self.connected = True
        self.omemo = self._service()

    def _service(self) -> Omemo:
        return Omemo(self.means())

    def means(self) -> OmemoMeans:
        async def exists(jid: str) -> bool:
            return jid in self.existing

        async def published(account: str, name: str) -> None:
            self.announced.append((account, name))

        return OmemoMeans(
            store=self.store,
            stream=self.pep,
            write=self._write,
            exists=exists,
            published=published,
            unreadable=lambda account, peer: self.begged.append((account, peer)),
            relay=self.relay,
        )

    def _write(self, stanza: Node) -> bool:
        if self.connected:
            self.posts.append(stanza)
        return self.connected

    def restart(self) -> None:
        """Forget all that is not on disk."""
        self.store = FakeStore(self.store.disk)
        self.omemo = self._service()

    async def settle_in(self) -> "World":
        """Give Alice her device, the same in every test."""
        if not _records:
            await self.omemo.items(ALICE, LEGACY_DEVICES, ROMEO)
            _records.update(self.store.disk.records)
        self.store.disk.records.update(_records)
        return self

    async def person(self, jid: str = ROMEO, *namespaces: str) -> Person:
        return await Person(self, jid, namespaces or (LEGACY,)).start()

    async def read(
        self, stanza: Element, account: str = ALICE, *, commit: bool = True
    ) -> Opened:
        """Decrypt as the adapter does, and commit."""
        unit = Unit()
        self.count += 1
        found = await self.omemo.decrypt(
            stanza, passage(stanza, account), unit, f"n{self.count}"
        )
        if commit:
            await self.store.commit(unit)
        return found

    async def words(self, stanza: Element, account: str = ALICE) -> str:
        found = await self.read(stanza, account)
        assert isinstance(found, Plain), found
        return text(found.content)

    async def send(self, body: str, account: str = ALICE, *to: str) -> Sealed:
        found = await self.try_to_send(body, account, *to)
        assert isinstance(found, Sealed), found
        return found

    async def try_to_send(
        self, body: str, account: str = ALICE, *to: str
    ) -> Sealed | Unsealable:
        unit = Unit()
        recipients = to or (ROMEO,)
        content = (Node("body", {}, (body,)),)
        way = Passage(account=account, peer="", to=recipients[0])
        found = await self.omemo.encrypt(content, way, recipients, unit)
        await self.store.commit(unit)
        return found

    def publish(self, jid: str, name: str, item: str, payload: Node) -> None:
        """Have somebody publish something."""
        self.pep.put(jid, name, item, to_element(payload))

    def tell_of(self, jid: str, name: str) -> bool:
        """Have somebody's server tell what they publish; XEP-0163 §4.3."""
        event = Element(f"{{{STREAM}}}message", {"from": jid})
        items = SubElement(event, f"{{{PUBSUB}#event}}event")
        items = SubElement(items, f"{{{PUBSUB}#event}}items", {"node": name})
        for item_id, payload in self.pep.items.get((jid, name), {}).items():
            item = SubElement(items, f"{{{PUBSUB}#event}}item", {"id": item_id})
            item.append(payload)
        return self.omemo.heard(event, jid)

    def spoil_signature(self, person: Person) -> None:
        """Have somebody publish a bundle that nobody can trust."""
        place = bundle_item(LEGACY, person.id)
        element = self.pep.items[person.jid, place[0]][place[1]]
        signature = element.find(f"{{{LEGACY}}}signedPreKeySignature")
        assert signature is not None
        signature.text = "A" * 86 + "=="

    def disk_bytes(self) -> bytes:
        """Return all that lies on disk, unsealed."""
        return repr(self.store.disk).encode()


def passage(stanza: Element, account: str = ALICE) -> Passage:
    sender = stanza.get("from", "").partition("/")[0]
    return Passage(account=account, peer=sender, to=stanza.get("to", ""))
