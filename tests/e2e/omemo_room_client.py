"""XMPP clients that encrypt in rooms as well; see ``omemo_client``.

In: ``{"who", "do": "seal in", "to": room, "text", "id", "members": [JID]}``. Who is
who in a room is read off the presences, as all clients do.
"""

import asyncio
import json
from typing import Any
from xml.etree import ElementTree as ET

import oldmemo.etree
import twomemo.etree
from slixmpp import JID, Message
from slixmpp.xmlstream import StanzaBase
from typing_extensions import override

from deploy.lab.stanzas import MUC_USER
from deploy.lab.xmpp_client import Client, Tell, main
from tests.e2e.omemo_client import (
    CLIENT,
    LEGACY,
    OMEMO2,
    SCE,
    Memory,
    SecretClient,
    SecretClients,
)


class RoomClient(SecretClient):
    """One device that encrypts in rooms as well."""

    def __init__(
        self, jid: str, password: str, tell: Tell, speaks: str, memory: Memory
    ) -> None:
        super().__init__(jid, password, tell, speaks, memory)
        self._people: dict[str, str] = {}

    def seal_in(self, order: dict[str, Any]) -> None:
        """Say something in a room, encrypted for its members."""
        self._soon(self._seal_in(order))

    @override
    def _hear(self, stanza: StanzaBase) -> StanzaBase:
        item = stanza.xml.find(f"{{{MUC_USER}}}x/{{{MUC_USER}}}item")
        if stanza.name == "presence" and item is not None and item.get("jid"):
            self._people[stanza["from"].full] = JID(item.get("jid")).bare
        return super()._hear(stanza)

    @override
    async def _open(self, stanza: Message) -> None:
        if stanza["type"] != "groupchat":
            await super()._open(stanza)
            return
        sender = self._people.get(stanza["from"].full, "")
        if sender == self.boundjid.bare:
            return  # for itself nobody encrypts
        about = {
            "id": stanza["id"],
            "from": stanza["from"].bare,
            "nick": stanza["from"].resource,
            "jid": sender,
            "text": None,
        }
        async with self._alone:
            try:
                about["version"], about["text"] = await self._opened_in(stanza, sender)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                about["why"] = f"{type(error).__name__}: {error}"
                self._tell("unopened", json.dumps(about))
            else:
                self._tell("opened", json.dumps(about))

    async def _opened_in(self, stanza: Message, sender: str) -> tuple[str, str | None]:
        manager = await self._secrets.get_session_manager()
        own = self.boundjid.bare
        sealed = stanza.xml.find(f"{{{OMEMO2}}}encrypted")
        if sealed is None:
            sealed = stanza.xml.find(f"{{{LEGACY}}}encrypted")
            assert sealed is not None
            old = await oldmemo.etree.parse_message(sealed, sender, own, manager)
            words, _, _ = await manager.decrypt(old)
            return LEGACY, None if words is None else words.decode()
        inside, _, _ = await manager.decrypt(
            twomemo.etree.parse_message(sealed, sender)
        )
        if inside is None:
            return OMEMO2, None
        envelope = ET.XML(inside)
        (room,) = envelope.findall(f"{{{SCE}}}to")
        assert room.get("jid") == stanza["from"].bare
        (said,) = envelope.findall(f"{{{SCE}}}from")
        assert said.get("jid") == sender
        return OMEMO2, envelope.findtext(f"{{{SCE}}}content/{{{CLIENT}}}body")

    async def _seal_in(self, order: dict[str, Any]) -> None:
        room, number = order["to"], order["id"]
        plain = self.make_message(mto=room, mbody=order["text"], mtype="groupchat")
        plain["id"] = number
        members = {JID(one) for one in order["members"]} - {JID(self.boundjid.bare)}
        async with self._alone:
            try:
                sealed = await self._sealed_for(plain, members)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                why = {"id": number, "why": f"{type(error).__name__}: {error}"}
                self._tell("unsealed", json.dumps(why))
            else:
                sealed.send()

    async def _sealed_for(self, plain: Message, members: set[JID]) -> Message:
        if self._speaks != "new":
            sealed, _ = await self._secrets.encrypt_message(plain, members)
            assert sealed is not None
            return sealed
        await self._secrets.refresh_device_lists(members)
        manager = await self._secrets.get_session_manager()
        envelope = ET.XML(self._envelope(plain["body"]))
        ET.SubElement(envelope, f"{{{SCE}}}to", {"jid": plain["to"].bare})
        peers = frozenset(str(one) for one in members)
        inside = {OMEMO2: ET.tostring(envelope)}
        (message,), _ = await manager.encrypt(peers, inside, [OMEMO2])
        del plain["body"]
        plain.append(twomemo.etree.serialize_message(message))
        plain.enable("store")
        return plain


class RoomClients(SecretClients):
    """All the devices of one process."""

    @override
    def make(self, order: dict[str, Any], tell: Tell) -> Client:
        memory = self._memories.setdefault(order["who"], Memory())
        speaks = order["speaks"]
        return RoomClient(order["jid"], order["password"], tell, speaks, memory)

    @override
    def obey(self, order: dict[str, Any]) -> None:
        if order["do"] != "seal in":
            super().obey(order)
            return
        client = self._clients[order["who"]]
        assert isinstance(client, RoomClient)
        client.seal_in(order)


if __name__ == "__main__":
    asyncio.run(main(RoomClients))
