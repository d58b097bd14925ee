"""An end-to-end encryption whose messages say themselves for whom they are."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import (
    Device,
    Failed,
    NotForUs,
    Opened,
    Passage,
    Plain,
    Sealed,
    Trust,
    Unsealable,
)
from bridge.xmpp.gate import content as written
from bridge.xmpp.muc.stanza import parsed

LEGACY = "eu.siacs.conversations.axolotl"
FALLBACK = "This message is encrypted."
NO_DEVICE = "they have no device that uses OMEMO"


@dataclass
class FakeCipher:
    """Seals for all but those *without* a device; *fails* is the next answer."""

    without: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    fails: Opened | None = None
    sealed: list[tuple[Passage, tuple[str, ...]]] = field(default_factory=list)
    opened: list[tuple[Passage, str]] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    name: str = "fake"
    namespaces: frozenset[str] = frozenset((LEGACY,))

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str = ""
    ) -> Opened:
        self.opened.append((replace(passage, at=None), key))
        if self.fails is not None:
            return self.fails
        sealed = stanza.find(f"{{{LEGACY}}}encrypted")
        assert sealed is not None
        if passage.account not in sealed.get("for", "").split():
            return NotForUs(empty=False)
        inside = base64.b64decode(sealed[0].text or "")
        children = parsed(b"<x>" + inside + b"</x>").children
        nodes = tuple(child for child in children if isinstance(child, Node))
        return Plain(nodes, passage.peer, 1, Trust.BLIND, LEGACY)

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        if away := self.away.intersection(recipients):
            return Unsealable("their server is away", tuple(away), passing=True)
        if without := self.without.intersection(recipients):
            return Unsealable(NO_DEVICE, tuple(sorted(without)))
        self.sealed.append((passage, tuple(recipients)))
        about = {"xmlns": LEGACY, "for": " ".join(recipients)}
        hidden = base64.b64encode(written(content)).decode()
        secret = node("encrypted", about, node("payload", None, hidden))
        hint = node("store", {"xmlns": "urn:xmpp:hints"})
        return Sealed((secret, hint, node("body", None, FALLBACK)))

    async def capable(self, account: str, peer: str) -> bool | None:
        return None if peer in self.hidden else peer not in self.without

    def doubt(self, peer: str) -> None:
        self.doubted.append(peer)

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        raise NotImplementedError

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        raise NotImplementedError


def secret(words: str, *recipients: str) -> str:
    """Write what is in a message to *recipients* that says *words*."""
    hidden = base64.b64encode(f"<body>{words}</body>".encode()).decode()
    return (
        f"<encrypted xmlns='{LEGACY}' for='{' '.join(recipients)}'>"
        f"<payload>{hidden}</payload></encrypted><body>{FALLBACK}</body>"
    )


def revealed(stanza: Element) -> str:
    """Read what a sealed message says; empty if it is not sealed."""
    sealed = stanza.find(f"{{{LEGACY}}}encrypted")
    if sealed is None:
        return ""
    inside = parsed(b"<x>" + base64.b64decode(sealed[0].text or "") + b"</x>")
    parts = (child for child in inside.children if isinstance(child, Node))
    bodies = (part.children for part in parts if part.name == "body")
    return "".join(str(part) for body in bodies for part in body)


BROKEN = Failed("it is broken")
REPEATED = Failed("once more", repeated=True)
