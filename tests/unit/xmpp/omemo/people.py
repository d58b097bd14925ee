"""People of XMPP with stock python-omemo, and a PEP in memory."""

import base64
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard
from xml.etree.ElementTree import Element, SubElement

import oldmemo
import oldmemo.etree
import twomemo
import twomemo.etree
from omemo import (
    Bundle,
    BundleNotFound,
    DeviceInformation,
    DeviceList,
    Message,
    SessionManager,
    TrustLevel,
)
from omemo.identity_key_pair import IdentityKeyPair
from omemo.storage import Just, Maybe, Nothing, Storage

from bridge.xmpp.codec.xml import Child, Node
from bridge.xmpp.endtoend import Passage
from bridge.xmpp.iq import IqError
from bridge.xmpp.muc.stanza import STREAM, to_element
from bridge.xmpp.omemo.names import (
    DEVICES_NODES,
    LEGACY,
    OMEMO2,
    bundle_item,
)
from bridge.xmpp.omemo.sce import Content, parse
from bridge.xmpp.omemo.service import Omemo

PUBSUB = "http://jabber.org/protocol/pubsub"
ALICE = "alice_hs@bridge.example"
BOB = "bob_hs@bridge.example"
ROMEO = "romeo@montague.example"
JULIET = "juliet@capulet.example"
CANARY = "canary-4711-do-not-log"


_Items = dict[tuple[str, str], dict[str, Element]]
_people: dict[tuple[str, tuple[str, ...]], tuple[dict[str, Any], _Items]] = {}


class Memory(Storage):
    """A storage of a client."""

    def __init__(self) -> None:
        super().__init__(disable_cache=True)
        self.kept: dict[str, Any] = {}

    async def _load(self, key: str) -> Maybe[Any]:
        return Just(self.kept[key]) if key in self.kept else Nothing()

    async def _store(self, key: str, value: Any) -> None:  # noqa: ANN401
        self.kept[key] = copy.deepcopy(value)

    async def _delete(self, key: str) -> None:
        self.kept.pop(key, None)


@dataclass
class Pep:
    """What clients publish, and what their servers answer instead."""

    items: dict[tuple[str, str], dict[str, Element]] = field(default_factory=dict)
    trouble: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    subscribed: list[tuple[str, str, str]] = field(default_factory=list)
    private: set[tuple[str, str]] = field(default_factory=set)

    def put(self, jid: str, name: str, item: str, payload: Element) -> None:
        self.items.setdefault((jid, name), {})[item] = payload

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        asked = to_element(payload)
        wanted = asked[0]
        place = (to, wanted.get("node", ""))
        if kind == "set":
            return self._subscribe(sender, place)
        self.asked.append((sender, *place))
        if place in self.trouble:
            if self.trouble[place] == "silence":
                raise TimeoutError
            raise IqError(self.trouble[place], "auth", "")
        found = self.items.get(place)
        if not found:
            raise IqError("item-not-found", "cancel", "")
        only = wanted.find(f"{{{PUBSUB}}}item")
        answer = Element(f"{{{STREAM}}}iq", {"type": "result"})
        pubsub = SubElement(answer, f"{{{PUBSUB}}}pubsub")
        items = SubElement(pubsub, f"{{{PUBSUB}}}items", {"node": place[1]})
        for name, element in found.items():
            if only is None or only.get("id") == name:
                item = SubElement(items, f"{{{PUBSUB}}}item", {"id": name})
                item.append(element)
        return answer

    def _subscribe(self, sender: str, place: tuple[str, str]) -> Element:
        if place in self.private:
            raise IqError("not-authorized", "auth", "")
        self.subscribed.append((sender, *place))
        return Element(f"{{{STREAM}}}iq", {"type": "result"})


class Client(SessionManager):
    """A device of somebody; *person* is set by the class that is made for it."""

    person: "Person"

    @classmethod
    async def _upload_bundle(cls, bundle: Bundle) -> None:
        parse = oldmemo.etree if bundle.namespace == LEGACY else twomemo.etree
        place = bundle_item(bundle.namespace, bundle.device_id)
        element = parse.serialize_bundle(bundle)
        cls.person.pep.put(cls.person.jid, *place, element)

    @classmethod
    async def _download_bundle(
        cls, namespace: str, bare_jid: str, device: int
    ) -> Bundle:
        name, item = bundle_item(namespace, device)
        element = await cls.person.look(bare_jid, name, item)
        if element is None:
            raise BundleNotFound
        parse = oldmemo.etree if namespace == LEGACY else twomemo.etree
        found: Bundle = parse.parse_bundle(element, bare_jid, device)
        return found

    @classmethod
    async def _delete_bundle(cls, namespace: str, device_id: int) -> None:
        raise NotImplementedError

    @classmethod
    async def _upload_device_list(cls, namespace: str, devices: DeviceList) -> None:
        parse = oldmemo.etree if namespace == LEGACY else twomemo.etree
        person = cls.person
        element = parse.serialize_device_list(devices)
        person.pep.put(person.jid, DEVICES_NODES[namespace], "current", element)

    @classmethod
    async def _download_device_list(cls, namespace: str, bare_jid: str) -> DeviceList:
        element = await cls.person.look(bare_jid, DEVICES_NODES[namespace], "current")
        if element is None:
            return {}
        parse = oldmemo.etree if namespace == LEGACY else twomemo.etree
        found: DeviceList = parse.parse_device_list(element)
        return found

    async def _evaluate_custom_trust_level(
        self, device: DeviceInformation
    ) -> TrustLevel:
        return TrustLevel.TRUSTED

    async def _make_trust_decision(
        self, undecided: frozenset[DeviceInformation], identifier: str | None
    ) -> None:
        raise NotImplementedError

    @classmethod
    async def _send_message(cls, message: Message, bare_jid: str) -> None:
        cls.person.empties.append(message)


class Bridge(Protocol):
    """What people see of the bridge."""

    pep: Pep
    omemo: Omemo


class Person:
    """Somebody of XMPP with one device that speaks *namespaces*."""

    client: Client
    id: int

    def __init__(self, world: "Bridge", jid: str, namespaces: Sequence[str]) -> None:
        self.world = world
        self.pep = world.pep
        self.jid = jid
        self.namespaces = tuple(namespaces)
        self.memory = Memory()
        self.empties: list[Message] = []
        self.instead: dict[str, Node] = {}
        self.last: Sequence[Node] = ()

    async def start(self) -> "Person":
        """Have the same device in every test."""
        self._remember()
        return await self.start_anew()

    async def start_anew(self, number: int = 0) -> "Person":
        """Have a device that nobody has seen before, unless one is remembered.

        With a *number* it is a client that was set up anew under its old one.
        """
        made = {
            LEGACY: oldmemo.Oldmemo(self.memory),
            OMEMO2: twomemo.Twomemo(self.memory),
        }
        if number:
            await self._take(number)
        kind: type[Client] = type("Device", (Client,), {"person": self})
        self.client = await kind.create(
            [made[one] for one in self.namespaces], self.memory, self.jid, None, "new"
        )
        await self.client.shutdown()
        await self.client.after_history_sync()
        own, _ = await self.client.get_own_device_information()
        self.id = own.device_id
        if (self.jid, self.namespaces) not in _people:
            items = {k: v for k, v in self.pep.items.items() if k[0] == self.jid}
            # A copy: what this one publishes later has keys that nobody remembers.
            remembered = dict(self.memory.kept), copy.deepcopy(items)
            _people[self.jid, self.namespaces] = remembered
        return self

    async def _take(self, number: int) -> None:
        """Write what python-omemo writes when it makes a device."""
        pair = await IdentityKeyPair.get(self.memory)
        key = base64.urlsafe_b64encode(pair.identity_key).decode()
        own = f"/devices/{self.jid}"
        self.memory.kept |= {
            "/own_device_id": number,
            f"{own}/list": [number],
            f"{own}/{number}/namespaces": [],
            f"{own}/{number}/active": {},
            f"{own}/{number}/label": None,
            f"{own}/{number}/identity_key": key,
        }

    def _remember(self) -> None:
        """Be whom an earlier test has made: keys take their time."""
        kept, items = _people.get((self.jid, self.namespaces), ({}, {}))
        self.memory.kept = copy.deepcopy(kept)
        self.pep.items.update(copy.deepcopy(items))

    async def look(self, jid: str, name: str, item: str) -> Element | None:
        """Ask for an item, and see *instead* if it was tampered with."""
        if name in self.instead:
            return to_element(self.instead[name])
        if jid.endswith("@bridge.example"):
            found = await self.world.omemo.items(jid, name, self.jid)
            nodes = dict(found or ())
            return to_element(nodes[item]) if item in nodes else None
        return self.pep.items.get((jid, name), {}).get(item)

    async def seal(
        self, to: str, body: str, *, namespace: str = LEGACY, inside: bytes = b""
    ) -> Element:
        """Write *body* to somebody as a stanza."""
        for one in self.namespaces:
            await self.client.refresh_device_list(one, to)
        plain = {LEGACY: body.encode(), OMEMO2: inside or sce(self.jid, to, body)}
        messages, errors = await self.client.encrypt(
            frozenset((to,)), plain, [namespace]
        )
        assert not errors
        return self.stanza(to, *messages)

    async def seal_inside(self, to: str, extra: str) -> Element:
        """Seal elements, and no words."""
        inside = sce(self.jid, to, "", extra).replace(
            b"<body xmlns='jabber:client'></body>", b""
        )
        return await self.seal(to, "", namespace=OMEMO2, inside=inside)

    def stanza(self, to: str, *messages: Message) -> Element:
        stanza = Element(f"{{{STREAM}}}message", {"from": f"{self.jid}/x", "to": to})
        for message in messages:
            kind = oldmemo.etree if message.namespace == LEGACY else twomemo.etree
            stanza.append(kind.serialize_message(message))
        fallback = SubElement(stanza, f"{{{STREAM}}}body")
        fallback.text = "I sent you an encrypted message"
        return stanza

    async def open(self, sender: str, children: Sequence[Child]) -> str | None:
        """Read what the bridge wrote; None if it was empty."""
        for namespace in self.namespaces:
            for child in children:
                assert isinstance(child, Node)
                if child.attributes.get("xmlns") == namespace:
                    return await self._open(sender, to_element(child), namespace)
        raise AssertionError("nothing is sealed for this client")

    async def _open(self, sender: str, element: Element, namespace: str) -> str | None:
        if namespace == LEGACY:
            message = await oldmemo.etree.parse_message(
                element, sender, self.jid, self.client
            )
        else:
            message = twomemo.etree.parse_message(element, sender)
        opened, _, _ = await self.client.decrypt(message)
        if opened is None:
            return None
        if namespace == LEGACY:
            return opened.decode()
        way = Passage(account=self.jid, peer=sender, to=self.jid)
        content = parse(opened, way)
        assert isinstance(content, Content), content
        self.last = content.nodes
        return text(content.nodes)

    async def open_own(self, sender: str, children: Sequence[Child]) -> str | None:
        """Read what is sealed for many: python-omemo reads a number as ours only."""
        (element,) = [to_element(one) for one in children if _is_sealed(one)]
        header = element[0]
        for key in header.findall(f"{{{LEGACY}}}key"):
            if key.get("rid") != str(self.id):
                header.remove(key)
        return await self._open(sender, element, LEGACY)

    async def content(self, sender: str, children: Sequence[Child]) -> Sequence[Node]:
        """Read all that the bridge has sealed."""
        await self.open(sender, children)
        return self.last


def _is_sealed(child: Child) -> TypeGuard[Node]:
    return isinstance(child, Node) and child.name == "encrypted"


def text(content: Sequence[Node]) -> str:
    return "".join(
        str(part)
        for child in content
        if child.name == "body"
        for part in child.children
    )


def sce(sender: str, to: str, body: str, extra: str = "") -> bytes:
    envelope = (
        "<envelope xmlns='urn:xmpp:sce:1'><content>"
        f"<body xmlns='jabber:client'>{body}</body>{extra}</content>"
        f"<rpad>x</rpad><from jid='{sender}'/><to jid='{to}'/></envelope>"
    )
    return envelope.encode()
