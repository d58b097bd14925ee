"""A form (XEP-0050) by which people of XMPP compare devices and give up their own.

    puppet -> execute -> a form: its fingerprints, and the asker's own devices
           -> complete, with some of them -> the puppet believes them no more

Nobody verifies their own device so: whoever took an account over could do that, too.
That is for the person of Matrix (``!xmpp omemo trust``).
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from bridge.xmpp import replies
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Device, EndToEnd, Trust
from bridge.xmpp.replies import DISCO_INFO, DISCO_ITEMS

COMMANDS: Final = "http://jabber.org/protocol/commands"
NAME: Final = "omemo"
TITLE: Final = "Check the encryption"
DEVICES_MAX: Final = 50

OFF: Final = "OMEMO is switched off on this bridge."
COMPARE: Final = (
    "Compare these fingerprints with what your client shows. The bridge decrypts and"
    " encrypts anew (end-to-bridge): whoever runs it can read along."
)
DONE: Final = "What you write with these devices is believed no more."
NOTHING: Final = "Nothing was changed."

_DATA: Final = "jabber:x:data"
_FORM: Final = f"{{{_DATA}}}x"
_FIELD: Final = f"{{{_DATA}}}field"
_VALUE: Final = f"{{{_DATA}}}value"
_COMMAND: Final = f"{{{COMMANDS}}}command"
_LOST: Final = "lost"


class Adhoc:
    """The commands of every puppet."""

    def __init__(self, endtoend: EndToEnd | None) -> None:
        self._endtoend = endtoend

    async def answer(self, iq: Element, sender: Jid, to: Jid) -> Node | None:
        """Answer *iq* if it is about commands; None if it is about something else."""
        query = iq[0] if len(iq) else None
        if query is None:
            return None
        about = query.get("node", "")
        if query.tag == _COMMAND and iq.get("type") == "set":
            if about != NAME:
                return replies.error(iq, "cancel", "item-not-found")
            return replies.result(iq, await self._run(query, sender, to))
        if query.tag == f"{{{DISCO_ITEMS}}}query" and about == COMMANDS:
            item = node("item", {"jid": to.full, "node": NAME, "name": TITLE})
            listed = {"xmlns": DISCO_ITEMS, "node": COMMANDS}
            return replies.result(iq, node("query", listed, item))
        if query.tag == f"{{{DISCO_INFO}}}query" and about == NAME:
            what = replies.Identity("automation", "command-node", TITLE)
            return replies.result(iq, replies.info(what, (COMMANDS, _DATA), name=NAME))
        return None

    async def _run(self, command: Element, sender: Jid, to: Jid) -> Node:
        session = command.get("sessionid") or secrets.token_hex(8)
        if command.get("action") == "cancel":
            return _state(session, "canceled")
        if self._endtoend is None:
            return _state(session, "completed", _note(OFF))
        form = command.find(_FORM)
        if form is None or form.get("type") != "submit":
            return _state(
                session, "executing", _ACTIONS, await self._form(sender.bare, to.bare)
            )
        given_up = False
        for fingerprint in _chosen(form)[:DEVICES_MAX]:
            given_up |= await self._endtoend.decide(
                to.bare, sender.bare, fingerprint, Trust.DISTRUSTED
            )
        return _state(session, "completed", _note(DONE if given_up else NOTHING))

    async def _form(self, asker: str, account: str) -> Node:
        assert self._endtoend is not None
        ours = await self._endtoend.devices(account, account)
        theirs: Sequence[Device] = ()
        if ours:
            theirs = await self._endtoend.devices(account, asker)
        shown = [one.fingerprint for one in ours] or ["none yet"]
        options = [_option(one) for one in theirs[:DEVICES_MAX]]
        label = "Your devices that are lost: believe them no more"
        return node(
            "x",
            {"xmlns": _DATA, "type": "form"},
            node("title", None, TITLE),
            node("instructions", None, COMPARE),
            _field("ours", "text-multi", f"Devices of {account}", _values(shown)),
            _field(_LOST, "list-multi", label, options),
        )


def _chosen(form: Element) -> list[str]:
    return [
        value.text or ""
        for field in form.iterfind(_FIELD)
        if field.get("var") == _LOST
        for value in field.iterfind(_VALUE)
    ]


def _option(device: Device) -> Node:
    label = f"{device.fingerprint}: {device.trust.value}"
    return node("option", {"label": label}, *_values([device.fingerprint]))


def _values(texts: Iterable[str]) -> list[Node]:
    return [node("value", None, text) for text in texts]


def _field(var: str, kind: str, label: str, inside: Iterable[Node]) -> Node:
    return node("field", {"var": var, "type": kind, "label": label}, *inside)


def _note(text: str) -> Node:
    return node("note", {"type": "info"}, text)


def _state(session: str, status: str, *inside: Node) -> Node:
    about = {"xmlns": COMMANDS, "node": NAME, "sessionid": session, "status": status}
    return node("command", about, *inside)


_ACTIONS: Final = node("actions", {"execute": "complete"}, node("complete"))
