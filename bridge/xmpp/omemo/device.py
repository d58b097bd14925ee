"""One device of one account, as python-omemo wants it: no word goes over the network.

Its hooks are static methods that are called before there is an object. So every
account gets a class of its own, closed over its desk.
"""

import base64
from typing import ClassVar, Protocol

from oldmemo.etree import serialize_bundle as legacy_bundle
from oldmemo.oldmemo import BundleImpl as LegacyBundle
from omemo import (
    Bundle,
    BundleDownloadFailed,
    BundleNotFound,
    DeviceInformation,
    DeviceList,
    Message,
    SessionManager,
    SignedLabel,
    TrustLevel,
)
from twomemo.etree import serialize_bundle as omemo2_bundle
from twomemo.twomemo import BundleImpl as Omemo2Bundle
from typing_extensions import override

from bridge.model.records import Secret
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc.stanza import to_node
from bridge.xmpp.omemo import trust
from bridge.xmpp.omemo.names import (
    CURRENT,
    DEVICES_NODES,
    LEGACY,
    bundle_item,
)
from bridge.xmpp.omemo.quiet import hush
from bridge.xmpp.omemo.shelf import Shelf

Wanted = tuple[str, str, int]
"""The bundle of a device: namespace, address, id."""

hush()


class Keys(Protocol):
    """Which pre keys of others' devices ours have used; see ``Used``."""

    def pick(self, device: Wanted, offered: frozenset[bytes]) -> bytes:
        """Choose one of the keys that are *offered*, and take note of it."""

    def unpick(self, device: Wanted, key: bytes) -> None:
        """Take note that *key* was not used after all."""

    def record(self, device: Wanted) -> Secret:
        """Write what is used of *device*."""


class Bundles(Protocol):
    """What is known of others' bundles."""

    def bundle(self, account: str, wanted: Wanted) -> Bundle | None:
        """Return a bundle; None if *account* cannot have it.

        Raises ``KeyError`` if nothing is known of it.
        """

    @property
    def used(self) -> Keys:
        """Return the pre keys that ours have used."""


class Desk:
    """What an operation needs and leaves behind, beside the shelf.

    *wanted* are bundles that were not at hand, *posts* empty messages and whom they
    are for, *picked* the pre keys with which it began sessions. *sealing* says that
    the operation encrypts.
    """

    def __init__(self, account: str, shelf: Shelf, bundles: Bundles) -> None:
        self.account = account
        self.shelf = shelf
        self.bundles = bundles
        self.wanted: set[Wanted] = set()
        self.posts: list[tuple[Message, str]] = []
        self.picked: list[tuple[Wanted, bytes]] = []
        self.sealing = False

    def clear(self) -> None:
        """Take note that an operation begins."""
        self.wanted.clear()
        self.posts.clear()
        self.picked.clear()
        self.sealing = False

    def pick(self, device: Wanted, offered: frozenset[bytes]) -> bytes:
        """Choose a pre key of somebody's *device*, for a session that begins."""
        key = self.bundles.used.pick(device, offered)
        self.picked.append((device, key))
        return key

    def unpick(self) -> None:
        """Take note that no session has begun."""
        for device, key in self.picked:
            self.bundles.used.unpick(device, key)


class OwnDevice(SessionManager):
    """A device that asks its desk; of each account a class of its own."""

    desk: ClassVar[Desk]

    @classmethod
    @override
    async def _upload_bundle(cls, bundle: Bundle) -> None:
        _publish_bundle(cls.desk.shelf, bundle)

    @classmethod
    @override
    async def _download_bundle(
        cls, namespace: str, bare_jid: str, device_id: int
    ) -> Bundle:
        return _bundle(cls.desk, (namespace, bare_jid, device_id))

    @classmethod
    @override
    async def _delete_bundle(cls, namespace: str, device_id: int) -> None:
        cls.desk.shelf.put(published_key(*bundle_item(namespace, device_id)), None)

    @classmethod
    @override
    async def _upload_device_list(cls, namespace: str, device_list: DeviceList) -> None:
        _publish_devices(cls.desk.shelf, namespace, device_list)

    @classmethod
    @override
    async def _download_device_list(cls, namespace: str, bare_jid: str) -> DeviceList:
        return {}

    @classmethod
    @override
    async def _send_message(cls, message: Message, bare_jid: str) -> None:
        cls.desk.posts.append((message, bare_jid))

    @override
    async def _evaluate_custom_trust_level(
        self, device: DeviceInformation
    ) -> TrustLevel:
        return trust.core_level(device.trust_level_name, sealing=self.desk.sealing)

    @override
    async def _make_trust_decision(
        self, undecided: frozenset[DeviceInformation], identifier: str | None
    ) -> None:
        for device in undecided:
            trust.decide_first(self.desk.shelf, device.bare_jid, device.identity_key)


def device_class(desk: Desk) -> type[OwnDevice]:
    """Make the class of one account's device."""
    return type("OwnDevice", (OwnDevice,), {"desk": desk})


def published_key(name: str, item: str) -> str:
    """Name the place on the shelf of what is published."""
    return f"/pep/{name}/{item}"


def _bundle(desk: Desk, wanted: Wanted) -> Bundle:
    try:
        found = desk.bundles.bundle(desk.account, wanted)
    except KeyError:
        desk.wanted.add(wanted)
        raise BundleDownloadFailed("not at hand") from None
    if found is None:
        raise BundleNotFound("there is none")
    return found


def _publish_bundle(shelf: Shelf, bundle: Bundle) -> None:
    if isinstance(bundle, LegacyBundle):
        element = legacy_bundle(bundle)
    else:
        assert isinstance(bundle, Omemo2Bundle)
        element = omemo2_bundle(bundle)
    place = published_key(*bundle_item(bundle.namespace, bundle.device_id))
    shelf.put(place, to_node(element))


def _publish_devices(shelf: Shelf, namespace: str, devices: DeviceList) -> None:
    if namespace == LEGACY:
        devices = dict.fromkeys(devices)
    listed = [_listed(number, label) for number, label in devices.items()]
    name = "list" if namespace == LEGACY else "devices"
    place = published_key(DEVICES_NODES[namespace], CURRENT)
    shelf.put(place, node(name, {"xmlns": namespace}, *listed))


def _listed(number: int, label: SignedLabel | None) -> Node:
    attributes = {"id": str(number)}
    if label is not None:
        attributes["label"] = label.label
        attributes["labelsig"] = base64.b64encode(label.signature).decode()
    return node("device", attributes)
