"""Personal eventing (XEP-0163) for our puppets: what they publish, the bridge serves.

Pep(domain, write); pep.add(source); then, in the adapter's order of questions:
iq get/set to a puppet's bare JID     -> await pep.answer(iq, sender, to) or disco
presence to a puppet                  -> pep.presence(stanza, sender, to)
our own available presence to someone -> Pep.caps() is the child it must bear
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node


class Source(Protocol):
    """What can be read of a puppet under some nodes; OMEMO is one, avatars another."""

    async def nodes(self, account: str) -> Sequence[str]:
        """List the nodes that *account* has."""

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        """Return the items of a node by id, newest last; None if there is no node."""


class Pep:
    """Answers for the nodes of all puppets, and tells those who want to know."""

    def __init__(
        self,
        domain: str,
        write: Callable[[Node], bool],
        ask: Callable[[str, str, Node], Awaitable[Element]],
    ) -> None:
        """*ask* sends an iq get (to, sender, payload) and returns the result."""
        raise NotImplementedError

    def add(self, source: Source) -> None:
        """Serve what *source* has, after the sources that were added before."""
        raise NotImplementedError

    async def answer(self, iq: Element, sender: Jid, to: Jid) -> Node | None:
        """Answer a question to the bare address of a puppet that exists.

        None if it is neither pubsub nor service discovery of a bare address: the
        caller's own disco answers (pings, the full address without a caps node).
        """
        raise NotImplementedError

    def features(self) -> tuple[str, ...]:
        """List what the device of every puppet can do, for disco#info of a full JID."""
        raise NotImplementedError

    def caps(self) -> Node:
        """Write the child that names those features in a presence; XEP-0115."""
        raise NotImplementedError

    async def presence(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a presence to a puppet: whoever wants to be notified gets the last item.

        Call it after ``contacts.answer``; the caps are looked up once per hash.
        """
        raise NotImplementedError

    async def changed(self, account: str, node: str) -> None:
        """Tell everybody who wants to know what *account* now has at *node*."""
        raise NotImplementedError
