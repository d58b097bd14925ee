"""Reads what others publish and send, within limits; writes what we do.

Rules: nothing foreign reaches python-omemo before its size and numbers are checked;
of what is for many, only our own part does.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

import doubleratchet
import oldmemo.etree
import twomemo.etree
import x3dh
import xeddsa
from google.protobuf.message import (  # type: ignore[import-untyped]
    Error as ProtobufError,
)
from oldmemo.oldmemo import (
    ContentImpl as LegacyContent,
    EncryptedKeyMaterialImpl as LegacyMaterial,
    KeyExchangeImpl as LegacyExchange,
)
from omemo import Bundle, DeviceList, Message, OMEMOException, SignedLabel
from twomemo.twomemo import (
    ContentImpl as Omemo2Content,
    EncryptedKeyMaterialImpl as Omemo2Material,
    KeyExchangeImpl as Omemo2Exchange,
)
from xeddsa.bindings import XEdDSAException

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.muc.stanza import to_node
from bridge.xmpp.omemo.names import (
    DEVICE_ID_MAX,
    DEVICES_MAX,
    LEGACY,
    NAMESPACES,
    OMEMO2,
)

HEADER_CHARS_MAX: Final = 256 * 1024
"""As much as servers let a client send: a crowd has many keys."""
PAYLOAD_CHARS_MAX: Final = 400 * 1024
KEYS_MAX: Final = 2000
KEY_CHARS_MAX: Final = 2048
LABEL_CHARS_MAX: Final = 200
PRE_KEYS_MAX: Final = 300

_LISTS: Final = {LEGACY: "list", OMEMO2: "devices"}
_NUMBER_DIGITS_MAX: Final = 10

# What the libraries raise for what is malformed, each in its own way.
MALFORMED: Final = (
    OMEMOException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    ProtobufError,
    x3dh.KeyAgreementException,
    doubleratchet.AuthenticationFailedException,
    doubleratchet.DecryptionFailedException,
    doubleratchet.DoSProtectionException,
    doubleratchet.DuplicateMessageException,
    XEdDSAException,
)


class Sealed(NamedTuple):
    """What an element holds for our device.

    *exchange* says that *key* begins a session. Without a *payload* it only moves one
    on.
    """

    namespace: str
    device: int
    key: bytes
    exchange: bool
    payload: bytes | None
    iv: bytes

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return self.payload is None


class Misfit(NamedTuple):
    """An element that does not: *malformed*, or else not for us."""

    malformed: bool
    empty: bool


def device_list(item: Element, namespace: str) -> DeviceList | None:
    """Read the devices that somebody lists; None if it is no list.

    The last ones, as clients add themselves at the end.
    """
    listed = item.find(f"{{{namespace}}}{_LISTS[namespace]}")
    if listed is None:
        return None
    found: DeviceList = {}
    for one in reversed(listed):
        number = _number(one.get("id"))
        if one.tag != f"{{{namespace}}}device" or number is None or number in found:
            continue
        found[number] = _label(one)
        if len(found) == DEVICES_MAX:
            break
    return found


def bundle(item: Element, namespace: str, peer: str, device: int) -> Bundle | None:
    """Read the bundle of a device; None if it is none that can be used."""
    element = item.find(f"{{{namespace}}}bundle")
    if element is None or sum(1 for _ in element.iter()) > PRE_KEYS_MAX:
        return None
    if any(len(part.text or "") > KEY_CHARS_MAX for part in element.iter()):
        return None
    parse = oldmemo.etree if namespace == LEGACY else twomemo.etree
    try:
        found: Bundle = parse.parse_bundle(element, peer, device)
    except MALFORMED:
        return None
    return found if is_sound(found.identity_key) else None


def is_sound(identity_key: bytes) -> bool:
    """Tell whether a key is one that can be used, and shown, as both kinds of key."""
    try:
        xeddsa.ed25519_pub_to_curve25519_pub(identity_key)
    except MALFORMED:
        return False
    return True


def find(stanza: Element, account: str, number: int) -> Sealed | Misfit | None:
    """Find what is sealed for our device *number*; None if nothing is sealed."""
    misfit: Misfit | None = None
    for namespace in NAMESPACES:
        element = stanza.find(f"{{{namespace}}}encrypted")
        if element is not None:
            found = _read(element, namespace, account, number)
            if isinstance(found, Sealed):
                return found
            misfit = misfit or found
    return misfit


def written(message: Message) -> Node:
    """Write a sealed message."""
    parse = oldmemo.etree if message.namespace == LEGACY else twomemo.etree
    return to_node(parse.serialize_message(message))


def identity_key(sealed: Sealed) -> bytes | None:
    """Read whose device says to have begun the session; None if it did not.

    Legacy ones do not tell the sign of their key, which only matters for signatures.
    """
    if not sealed.exchange:
        return None
    try:
        if sealed.namespace == LEGACY:
            legacy, _ = LegacyExchange.parse(sealed.key, set_sign_bit=False)
            key = legacy.identity_key
        else:
            exchange, _ = Omemo2Exchange.parse(sealed.key)
            key = exchange.identity_key
    except MALFORMED:
        return None
    return key if is_sound(key) else None


def message(sealed: Sealed, peer: str, account: str, us: int, known: bytes) -> Message:
    """Make what python-omemo opens; *known* is the key of the sender's device.

    Its own readers look at the keys for all others too, and at every element twice.
    Raises one of ``MALFORMED``.
    """
    content: LegacyContent | Omemo2Content
    exchange: LegacyExchange | Omemo2Exchange | None = None
    material: LegacyMaterial | Omemo2Material
    key = sealed.key
    if sealed.namespace == LEGACY:
        if sealed.exchange:
            sign = bool(known[31] >> 7)
            exchange, key = LegacyExchange.parse(key, set_sign_bit=sign)
        material = LegacyMaterial.parse(key, account, us)
        content = LegacyContent.make_empty()
        if sealed.payload is not None:
            content = LegacyContent(sealed.payload, sealed.iv)
    else:
        if sealed.exchange:
            exchange, key = Omemo2Exchange.parse(key)
        material = Omemo2Material.parse(key, account, us)
        content = Omemo2Content.make_empty()
        if sealed.payload is not None:
            content = Omemo2Content(sealed.payload)
    keys = frozenset({(material, exchange)})
    return Message(sealed.namespace, peer, sealed.device, content, keys)


def _read(
    element: Element, namespace: str, account: str, number: int
) -> Sealed | Misfit:
    ns = f"{{{namespace}}}"
    header, payload = element.find(f"{ns}header"), element.find(f"{ns}payload")
    empty = payload is None
    sender = None if header is None else _number(header.get("sid"))
    if header is None or sender is None or not _fits(header, payload):
        return Misfit(malformed=True, empty=empty)
    ours = next(_ours(header, ns, account, number), None)
    if ours is None:
        return Misfit(malformed=False, empty=empty)
    flag = ours.get("prekey" if namespace == LEGACY else "kex", "")
    try:
        return Sealed(
            namespace,
            sender,
            _bytes(ours),
            flag in ("true", "1"),
            None if payload is None else _bytes(payload),
            _bytes(header.find(f"{ns}iv")),
        )
    except ValueError:
        return Misfit(malformed=True, empty=empty)


def _bytes(element: Element | None) -> bytes:
    text = "" if element is None else element.text or ""
    return base64.b64decode("".join(text.split()), validate=True)


def _ours(header: Element, ns: str, account: str, number: int) -> Iterator[Element]:
    rid = str(number)
    if ns == f"{{{LEGACY}}}":
        parents = [header]
    else:
        parents = [k for k in header.iterfind(f"{ns}keys") if k.get("jid") == account]
    for parent in parents:
        for key in parent.iterfind(f"{ns}key"):
            if key.get("rid") == rid:
                yield key


def _fits(header: Element, payload: Element | None) -> bool:
    size = count = 0
    for part in header.iter():
        chars = len(part.text or "")
        if chars > KEY_CHARS_MAX:
            return False
        size += chars + len(part.get("jid", ""))
        count += 1
    if size > HEADER_CHARS_MAX or count > KEYS_MAX:
        return False
    return payload is None or len(payload.text or "") <= PAYLOAD_CHARS_MAX


def _number(text: str | None) -> int | None:
    """Read the number of a device; XEP-0384 §5.1."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    if len(text) > _NUMBER_DIGITS_MAX:
        return None
    number = int(text)
    return number if 0 < number <= DEVICE_ID_MAX else None


def _label(device: Element) -> SignedLabel | None:
    label, signature = device.get("label"), device.get("labelsig")
    if label is None or signature is None or len(label) > LABEL_CHARS_MAX:
        return None
    try:
        return SignedLabel(label, base64.b64decode(signature[:KEY_CHARS_MAX]))
    except (binascii.Error, ValueError):
        return None
