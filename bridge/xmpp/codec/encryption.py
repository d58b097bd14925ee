"""Recognises encryptions, so that gibberish is never taken for words."""

import enum
from typing import Final
from xml.etree.ElementTree import Element


class Encryption(enum.Enum):
    """How a message may be encrypted, as people call it."""

    OMEMO = "OMEMO"
    OTR = "OTR"
    PGP = "PGP"
    OX = "OpenPGP"
    OTHER = "an unknown encryption"


_ELEMENTS: Final = {
    "{eu.siacs.conversations.axolotl}encrypted": Encryption.OMEMO,
    "{urn:xmpp:omemo:2}encrypted": Encryption.OMEMO,
    "{urn:xmpp:omemo:1}encrypted": Encryption.OTHER,
    "{urn:xmpp:omemo:0}encrypted": Encryption.OTHER,
    "{urn:xmpp:openpgp:0}openpgp": Encryption.OX,
    "{jabber:x:encrypted}x": Encryption.PGP,
}
# XEP-0380 §3
_NAMED: Final = {
    "urn:xmpp:otr:0": Encryption.OTR,
    "jabber:x:encrypted": Encryption.PGP,
    "urn:xmpp:openpgp:0": Encryption.OX,
    "eu.siacs.conversations.axolotl": Encryption.OMEMO,
    "urn:xmpp:omemo:2": Encryption.OMEMO,
}
_EME: Final = "{urn:xmpp:eme:0}encryption"
_BODIES: Final = ("{jabber:component:accept}body", "{jabber:client}body", "body")
_OTR: Final = "?OTR"
_PGP_ARMOUR: Final = "-----BEGIN PGP MESSAGE-----"


def encryption(stanza: Element) -> Encryption | None:
    """Tell how the words of *stanza* are encrypted; None if they are not.

    A message that only names an encryption, without ciphertext that we know, counts.
    """
    for child in stanza:
        found = _ELEMENTS.get(child.tag)
        if found is not None:
            return found
    body = next(
        (stanza.findtext(tag) for tag in _BODIES if stanza.find(tag) is not None), ""
    )
    if body and is_ciphertext(body):
        return Encryption.OTR if body.startswith(_OTR) else Encryption.PGP
    named = stanza.find(_EME)
    if named is not None:
        return _NAMED.get(named.get("namespace", ""), Encryption.OTHER)
    return None


def is_ciphertext(body: str) -> bool:
    """Tell whether *body* itself is encrypted, by OTR or PGP, and no words at all."""
    return body.startswith(_OTR) or body.lstrip().startswith(_PGP_ARMOUR)


def words(found: Encryption, who: str, *, omemo: bool) -> str:
    """Tell those whom *who* writes to what cannot be read, and what to do."""
    way = "with OMEMO or " if omemo else ""
    return (
        f"{who} writes with {found.value}, which the bridge cannot read: it was not"
        f" delivered, and they are told so. They can write {way}without encryption."
    )
