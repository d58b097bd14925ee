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
from oldmemo.oldmemo import KeyExchangeImpl as LegacyExchange
from omemo import Bundle, DeviceList, Message, OMEMOException, SignedLabel
from twomemo.twomemo import KeyExchangeImpl as Omemo2Exchange
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

HEADER_CHARS_MAX: Final = 64 * 1024
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
    """An element that holds a key for us, with our part of its header only."""

    namespace: str
    device: int
    element: Element
    exchange: bytes | None
    empty: bool


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
    if sealed.exchange is None:
        return None
    try:
        if sealed.namespace == LEGACY:
            legacy, _ = LegacyExchange.parse(sealed.exchange, set_sign_bit=False)
            key = legacy.identity_key
        else:
            exchange, _ = Omemo2Exchange.parse(sealed.exchange)
            key = exchange.identity_key
    except MALFORMED:
        return None
    return key if is_sound(key) else None


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
        key = base64.b64decode(ours.text or "", validate=False)
    except (binascii.Error, ValueError):
        return Misfit(malformed=True, empty=empty)
    reduced = _reduced(ns, (header, ours, payload), account)
    exchange = key if flag in ("true", "1") else None
    return Sealed(namespace, sender, reduced, exchange, empty)


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


def _reduced(
    ns: str, parts: tuple[Element, Element, Element | None], account: str
) -> Element:
    header, ours, payload = parts
    element = Element(f"{ns}encrypted")
    head = Element(f"{ns}header", {"sid": header.get("sid", "")})
    element.append(head)
    if ns == f"{{{LEGACY}}}":
        head.append(ours)
        head.extend(header.findall(f"{ns}iv")[:1])
    else:
        keys = Element(f"{ns}keys", {"jid": account})
        keys.append(ours)
        head.append(keys)
    if payload is not None:
        element.append(payload)
    return element


def _fits(header: Element, payload: Element | None) -> bool:
    size = count = 0
    for part in header.iter():
        size += len(part.text or "") + len(part.get("jid", ""))
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
