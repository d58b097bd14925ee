"""XMPP clients that encrypt, with stock slixmpp-omemo, in a process of their own.

As ``deploy.lab.xmpp_client``; and a login may say *speaks*:

``legacy``  only what most clients have,
``stock``   slixmpp-omemo as it comes: it lists both versions and reads the legacy one,
``new``     both; OMEMO 2 is written and read with an envelope of our own (XEP-0420).

In: ``{"who", "do": "seal", "to", "text", "id"}``, ``{"who", "do": "be shy"}``.
Out: ``{"who", "kind": "keyed" | "opened" | "unopened" | "unsealed", "text"}``.
"""

import asyncio
import json
import secrets
import sys
from typing import Any
from xml.etree import ElementTree as ET

import oldmemo
import twomemo
import twomemo.etree
from omemo import (
    Bundle,
    DeviceInformation,
    DeviceList,
    MessageNotForUs,
    SessionManager,
)
from omemo.storage import Just, Maybe, Nothing, Storage
from slixmpp import JID, Message
from slixmpp.plugins.base import register_plugin
from slixmpp.xmlstream import StanzaBase
from slixmpp_omemo import XEP_0384, TrustLevel
from slixmpp_omemo.xep_0384 import _make_session_manager
from typing_extensions import override

from deploy.lab.xmpp_client import Client, Clients, Tell, main

LEGACY = oldmemo.oldmemo.NAMESPACE
OMEMO2 = twomemo.twomemo.NAMESPACE
SCE = "urn:xmpp:sce:1"
CLIENT = "jabber:client"
OPTS_OUT = "opts out: "
"""Stands before the reason of whoever wants no more of it; XEP-0384 §5.7."""


class Memory(Storage):
    """What a device keeps while the process lives."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, str] = {}

    @override
    async def _load(self, key: str) -> Maybe[Any]:
        return Just(json.loads(self.kept[key])) if key in self.kept else Nothing()

    @override
    async def _store(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)

    @override
    async def _delete(self, key: str) -> None:
        self.kept.pop(key, None)


class Secrets(XEP_0384):
    """The plugin, with its storage; *versions* are for which it has keys."""

    default_config = {**XEP_0384.default_config, "memory": None, "speaks": "stock"}  # noqa: RUF012 - as the base class has it
    memory: Memory
    speaks: str
    _only_legacy: "asyncio.Task[SessionManager] | None" = None

    @property
    @override
    def storage(self) -> Storage:
        return self.memory

    @property
    @override
    def _btbv_enabled(self) -> bool:
        return True

    @override
    async def _prompt_manual_trust(
        self, manually_trusted: frozenset[DeviceInformation], identifier: str | None
    ) -> None:
        raise NotImplementedError

    @override
    async def get_session_manager(self) -> SessionManager:
        if self.speaks != "legacy":
            return await super().get_session_manager()
        if self._only_legacy is None:
            loop = asyncio.get_running_loop()
            self._only_legacy = loop.create_task(self._make())
        return await self._only_legacy

    async def _make(self) -> SessionManager:
        stock = _make_session_manager(self.xmpp, self)
        versions = [twomemo.Twomemo(self.memory), oldmemo.Oldmemo(self.memory)]
        manager = await _silent(stock).create(
            versions,
            self.memory,
            self.xmpp.boundjid.bare,
            None,
            TrustLevel.UNDECIDED.value,
        )
        await manager.ensure_data_consistency()
        await manager.after_history_sync()
        self.xmpp.event("omemo_initialized")
        return manager


def _silent(stock: type[SessionManager]) -> type[SessionManager]:
    """Keep OMEMO 2 to itself: the plugin cannot do without it."""

    class Silent(stock):  # type: ignore[misc, valid-type]
        @staticmethod
        async def _upload_bundle(bundle: Bundle) -> None:
            if bundle.namespace == LEGACY:
                await stock._upload_bundle(bundle)

        @staticmethod
        async def _upload_device_list(namespace: str, devices: DeviceList) -> None:
            if namespace == LEGACY:
                await stock._upload_device_list(namespace, devices)

    return Silent


register_plugin(Secrets)


class SecretClient(Client):
    """One device that encrypts."""

    def __init__(
        self, jid: str, password: str, tell: Tell, speaks: str, memory: Memory
    ) -> None:
        super().__init__(jid, password, tell)
        self._speaks = speaks
        # Of one device nothing may overlap: the library has no locks.
        self._alone = asyncio.Lock()
        self._jobs: set[asyncio.Task[None]] = set()
        config = {"memory": memory, "speaks": speaks}
        self.register_plugin("xep_0384", config, module=sys.modules[__name__])
        self.add_event_handler("omemo_initialized", self._keyed)

    @property
    def _secrets(self) -> Secrets:
        plugin: Any = self.plugin
        found: Secrets = plugin["xep_0384"]
        return found

    def seal(self, order: dict[str, str]) -> None:
        """Say something to somebody, encrypted."""
        self._soon(self._seal(order["to"], order["text"], order["id"]))

    def _soon(self, job: Any) -> None:  # noqa: ANN401
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _keyed(self, _: object) -> None:
        manager = await self._secrets.get_session_manager()
        own, _ = await manager.get_own_device_information()
        digits = manager.format_identity_key(own.identity_key)
        self._tell("keyed", json.dumps([own.device_id, " ".join(digits)]))

    @override
    def _hear(self, stanza: StanzaBase) -> StanzaBase:
        heard = super()._hear(stanza)
        if isinstance(stanza, Message) and self._secrets.is_encrypted(stanza):
            self._soon(self._open(stanza))
        return heard

    async def _open(self, stanza: Message) -> None:
        about = {"id": stanza["id"], "from": stanza["from"].bare, "text": None}
        async with self._alone:
            try:
                about["version"], about["text"] = await self._opened(stanza)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                # What is empty may only move a session of another device on.
                if not (isinstance(error, MessageNotForUs) and _is_empty(stanza)):
                    about["why"] = f"{type(error).__name__}: {error}"
                    self._tell("unopened", json.dumps(about))
            else:
                self._tell("opened", json.dumps(about))

    async def _opened(self, stanza: Message) -> tuple[str, str | None]:
        plugin = self._secrets
        sealed = stanza.xml.find(f"{{{OMEMO2}}}encrypted")
        if sealed is None or self._speaks == "stock":
            clear, _ = await plugin.decrypt_message(stanza)
            return LEGACY, clear["body"] or None
        manager = await plugin.get_session_manager()
        message = twomemo.etree.parse_message(sealed, stanza["from"].bare)
        inside, _, _ = await manager.decrypt(message)
        if inside is None:
            return OMEMO2, None
        envelope = ET.XML(inside)
        assert envelope.find(f"{{{SCE}}}rpad") is not None
        (sender,) = envelope.findall(f"{{{SCE}}}from")
        assert sender.get("jid") == stanza["from"].bare
        left = envelope.find(f"{{{SCE}}}content/{{{OMEMO2}}}opt-out")
        if left is not None:
            return OMEMO2, OPTS_OUT + (left.findtext(f"{{{OMEMO2}}}reason") or "")
        return OMEMO2, envelope.findtext(f"{{{SCE}}}content/{{{CLIENT}}}body")

    async def _seal(self, to: str, text: str, number: str) -> None:
        plain = self.make_message(mto=to, mbody=text, mtype="chat")
        plain["id"] = number
        async with self._alone:
            try:
                sealed = await self._sealed(plain)
            except Exception as error:  # noqa: BLE001 - told, whatever it is
                why = {"id": number, "why": f"{type(error).__name__}: {error}"}
                self._tell("unsealed", json.dumps(why))
            else:
                sealed.send()

    async def _sealed(self, plain: Message) -> Message:
        plugin = self._secrets
        if self._speaks != "new":
            sealed, _ = await plugin.encrypt_message(plain, plain["to"])
            assert sealed is not None
            return sealed
        await plugin.refresh_device_lists({JID(plain["to"].bare)})
        manager = await plugin.get_session_manager()
        inside = self._envelope(plain["body"])
        peers = frozenset({plain["to"].bare})
        (message,), _ = await manager.encrypt(peers, {OMEMO2: inside}, [OMEMO2])
        plain["body"] = "This message is encrypted."
        plain.append(twomemo.etree.serialize_message(message))
        plain.enable("store")
        return plain

    def _envelope(self, text: str) -> bytes:
        envelope = ET.Element(f"{{{SCE}}}envelope")
        content = ET.SubElement(envelope, f"{{{SCE}}}content")
        if text.startswith(OPTS_OUT):
            left = ET.SubElement(content, f"{{{OMEMO2}}}opt-out")
            reason = ET.SubElement(left, f"{{{OMEMO2}}}reason")
            reason.text = text.removeprefix(OPTS_OUT)
        else:
            ET.SubElement(content, f"{{{CLIENT}}}body").text = text
        pad = ET.SubElement(envelope, f"{{{SCE}}}rpad")
        pad.text = secrets.token_urlsafe(secrets.randbelow(100))
        ET.SubElement(envelope, f"{{{SCE}}}from", {"jid": self.boundjid.bare})
        return ET.tostring(envelope)


def _is_empty(stanza: Message) -> bool:
    spaces = (LEGACY, OMEMO2)
    sealed = (stanza.xml.find(f"{{{one}}}encrypted/{{{one}}}payload") for one in spaces)
    return all(payload is None for payload in sealed)


class SecretClients(Clients):
    """All the devices of one process, which keep their keys while they are away."""

    def __init__(self, write: Any) -> None:  # noqa: ANN401
        super().__init__(write)
        self._memories: dict[str, Memory] = {}

    @override
    def make(self, order: dict[str, Any], tell: Tell) -> Client:
        memory = self._memories.setdefault(order["who"], Memory())
        speaks = order["speaks"]
        return SecretClient(order["jid"], order["password"], tell, speaks, memory)

    @override
    def obey(self, order: dict[str, Any]) -> None:
        if order["do"] not in {"seal", "be shy"}:
            super().obey(order)
            return
        client = self._clients[order["who"]]
        assert isinstance(client, SecretClient)
        if order["do"] == "seal":
            client.seal(order)
        else:
            shy: Any = client.roster
            shy.auto_authorize = None


if __name__ == "__main__":
    asyncio.run(main(SecretClients))
