"""Lets the bridge say what somebody of Matrix said, under their name.

Where people encrypt, each of ours takes a device more for which all others encrypt.
Beyond a number of them the bridge's own device speaks for the rest.
"""

from typing import Final

import msgspec

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.gate import serialise
from bridge.xmpp.muc.stanza import parsed
from bridge.xmpp.packing import Speech

_ME: Final = "/me "
_BLOCKS: Final = (">", "```")
"""What styling begins a line with (XEP-0393 §5.1)."""


def relayed(speech: Speech, listener: str) -> Speech:
    """Write *speech* as *listener*, the bridge's own device, says it.

    Raises ``StanzaError`` if it is too large then.
    """
    stanza = parsed(speech.stanza)
    said = stanza._replace(
        attributes={**stanza.attributes, "from": listener},
        children=tuple(_named(child, speech.name) for child in stanza.children),
    )
    data = serialise(said, listener.partition("@")[2].partition("/")[0])
    return msgspec.structs.replace(speech, mxid="", stanza=data)


def _named(child: Node | str, name: str) -> Node | str:
    if not isinstance(child, Node) or child.name != "body":
        return child
    return child._replace(children=(_words(str(child.children[0]), name),))


def _words(body: str, name: str) -> str:
    if body.startswith(_ME):
        return f"* {name} {body.removeprefix(_ME)}"
    gap = "\n" if body.startswith(_BLOCKS) else " "
    return f"{name}:{gap}{body}"
