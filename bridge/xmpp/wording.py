"""Reads and writes what is said in MUCs elsewhere, from event to bytes and back."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.model.delivery import Outcome, Refusal, Refused, Route, Unreadable, Wire
from bridge.model.events import Command, Message, Protection, Rank
from bridge.model.places import Network, Person, Room
from bridge.xmpp.codec.message import (
    OWN_WORDS,
    about,
    archive_ref,
    decode,
    encode,
    hops,
    origin_ref,
)
from bridge.xmpp.codec.names import puppet_jid
from bridge.xmpp.codec.presence import MUC_USER
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.means import COMMAND, LISTENER, RESOURCE
from bridge.xmpp.packing import MUC, Aside, Heard, Speaker, Speech, pack

_STORE = node("store", {"xmlns": "urn:xmpp:hints"})


def read(
    heard: Heard, key: str, stanza: Element, protection: Protection
) -> Message | Command | Unreadable | None:
    """Make an event of what was heard; *key* names what nobody else has named.

    *stanza* is what was heard, in the clear.
    """
    content = decode(stanza)
    room = Room(Network.XMPP, heard.muc)
    sender = Person(Network.XMPP, heard.person)
    name = stanza.get("id", "")
    if content is None:
        return None
    if isinstance(content, Refusal):
        return unreadable(heard, Refused(content))
    sent_at = datetime.fromtimestamp(heard.at_ms / 1000, UTC)
    ref = origin_ref(sender, name or heard.stanza_id or key)
    if content.body.plain.startswith(COMMAND):
        return Command(
            ref=ref,
            room=room,
            sender=sender,
            sent_at=sent_at,
            name=heard.nick,
            protection=protection,
            words=content.body.plain.removeprefix(COMMAND),
            rank=Rank(heard.rank),
        )
    return Message(
        ref=ref,
        room=room,
        sender=sender,
        sent_at=sent_at,
        name=heard.nick,
        protection=protection,
        content=content,
        aliases=(archive_ref(heard.muc, heard.stanza_id),) if heard.stanza_id else (),
        hops=hops(stanza),
    )


def unreadable(heard: Heard, why: Refused) -> Unreadable:
    """Note who is to be told why what they said could not be read."""
    speaker = Speaker(heard.muc, heard.person, heard.nick, "")
    return Unreadable(why.why, pack(MUC, speaker), why.detail)


def receipt(event: Message) -> bytes:
    """Note who said *event*, to tell them how it fared."""
    speaker = Speaker(event.room.address, event.sender.id, event.name, "")
    return pack(MUC, speaker)


def prepare(
    event: Message, route: Route, domain: str, guard: int
) -> Sequence[Wire] | Refusal:
    """Write *event* as its sender's puppet says it; *guard* as for ``Speech``."""
    muc, mxid = route.room.address, event.sender.id
    sender = f"{puppet_jid(mxid, domain)}/{RESOURCE}"
    wires: list[Wire] = []
    for number, part in enumerate(encode(event.content), 1):
        name = event.ref.id if number == 1 else f"{event.ref.id}/{number}"
        try:
            words = (*part, *about(event))
            stanza = serialise(_groupchat(sender, muc, name, words), domain)
        except StanzaError:
            return Refusal.TOO_LARGE
        speech = Speech(muc, mxid, event.name, stanza, guard)
        wires.append(Wire(name, pack(MUC, speech)))
    return wires


def notice(muc: str, words: str, bot: str, domain: str) -> Sequence[Wire]:
    """Write words of the bridge's own to all in the room."""
    name = secrets.token_hex(12)
    body = (node("body", None, words), OWN_WORDS)
    stanza = _groupchat(f"{bot}/{LISTENER}", muc, name, body)
    return (Wire(name, pack(MUC, Speech(muc, "", "", serialise(stanza, domain)))),)


def settle(speaker: Speaker, nick: str, outcome: Outcome, bot: str) -> Sequence[Wire]:
    """Tell somebody in private that what they said has not crossed.

    Nothing answers a groupchat message with an error: the room stands between.
    """
    if not isinstance(outcome, Refused) or not nick:
        return ()
    detail = f" ({outcome.detail})" if outcome.detail else ""
    words = f"Your message did not reach Matrix: {outcome.why.value}{detail}."
    name = secrets.token_hex(12)
    address = {"type": "chat", "from": f"{bot}/{LISTENER}", "id": name}
    stanza = node(
        "message",
        {**address, "to": f"{speaker.muc}/{nick}"},
        node("body", None, words),
        node("x", {"xmlns": MUC_USER}),
    )
    domain = bot.rpartition("@")[2]
    aside = Aside(speaker.muc, serialise(stanza, domain))
    return (Wire(name, pack(MUC, aside)),)


def _groupchat(sender: str, muc: str, name: str, part: Sequence[Node]) -> Node:
    return node(
        "message",
        {"type": "groupchat", "from": sender, "to": muc, "id": name},
        *part,
        node("origin-id", {"xmlns": "urn:xmpp:sid:0", "id": name}),
        _STORE,
    )
