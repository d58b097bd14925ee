"""People on XMPP who encrypt with OMEMO; see ``omemo_client``."""

import json
import secrets
from xml.etree.ElementTree import Element, SubElement

from typing_extensions import override

from deploy.lab.heard import PATIENCE_S, Heard, NotHeardError
from deploy.lab.xmpp_people import Cast, XmppPerson

LEGACY = "eu.siacs.conversations.axolotl"
OMEMO2 = "urn:xmpp:omemo:2"
PUBSUB = "http://jabber.org/protocol/pubsub"
OWNER = f"{PUBSUB}#owner"
DATA = "jabber:x:data"
PROGRAM = "tests.e2e.omemo_client"


class SecretPerson(XmppPerson):
    """Somebody with one device that encrypts.

    *fingerprint* is how it shows itself, *unopened* is what it could not read, *empty*
    counts the messages that only moved a session on.
    """

    def __init__(
        self, cast: Cast, name: str, jid: str, password: str, device: str, speaks: str
    ) -> None:
        super().__init__(cast, name, jid, password, device)
        self.more = {"speaks": speaks}
        self.number = 0
        self.fingerprint = ""
        self.unopened: list[str] = []
        self.unsealed: list[str] = []
        self.empty = 0

    @override
    async def log_in(self) -> None:
        await super().log_in()
        await self.until(lambda: self.fingerprint or None, "keys")

    async def seals(self, to: str, text: str) -> str:
        """Say *text* in a chat, encrypted; return the message's id."""
        number = secrets.token_hex(6)
        await self._cast.order(self.full, "seal", to=to, text=text, id=number)
        return number

    async def opens(
        self,
        text: str,
        sender: str,
        version: str = LEGACY,
        within_s: float = PATIENCE_S,
    ) -> Heard:
        """Expect *text* as the next message of a conversation, encrypted."""
        return await self._opened(text, sender, sender, version, within_s)

    async def hides(self, *versions: str) -> None:
        """Let only contacts read what devices there are, and their keys."""
        for version in versions or (LEGACY, OMEMO2):
            for node in self._nodes(version):
                await self._configure(node, "presence")

    async def refuses_contacts(self) -> None:
        """Let nobody see whether this device is there."""
        await self._cast.order(self.full, "be shy")

    @override
    def take(self, kind: str, text: str) -> None:
        """Take in what the device tells."""
        match kind:
            case "keyed":
                self.number, self.fingerprint = json.loads(text)
            case "opened":
                self._take_opened(json.loads(text))
            case "unopened":
                self.unopened.append(text)
            case "unsealed":
                self.unsealed.append(text)
            case _:
                super().take(kind, text)

    @override
    def _take_message(self, stanza: Element) -> None:
        if stanza.find(f"{{{LEGACY}}}encrypted") is not None:
            return
        if stanza.find(f"{{{OMEMO2}}}encrypted") is not None:
            return
        super()._take_message(stanza)

    async def _opened(
        self, text: str, sender: str, where: str, version: str, within_s: float
    ) -> Heard:
        try:
            heard = await self.hears(text, sender, where, within_s)
        except NotHeardError as error:
            raise NotHeardError(f"{error}; not opened: {self.unopened}") from None
        if heard.name != version:
            raise NotHeardError(f"{text!r} came as {heard.name or 'plain text'!r}")
        return heard

    def _take_opened(self, told: dict[str, str]) -> None:
        if told["text"] is None:
            self.empty += 1
            return
        sender, version = told["from"], told["version"]
        self._ears.put(Heard(sender, sender, told["text"], told["id"], version))

    def _nodes(self, version: str) -> tuple[str, str]:
        if version == OMEMO2:
            return f"{OMEMO2}:devices", f"{OMEMO2}:bundles"
        return f"{LEGACY}.devicelist", f"{LEGACY}.bundles:{self.number}"

    async def _configure(self, node: str, access: str) -> None:
        query = Element("pubsub", {"xmlns": OWNER})
        configure = SubElement(query, "configure", {"node": node})
        form = SubElement(configure, "x", {"xmlns": DATA, "type": "submit"})
        fields = {"FORM_TYPE": f"{PUBSUB}#node_config", "pubsub#access_model": access}
        for name, value in fields.items():
            field = SubElement(form, "field", {"var": name})
            SubElement(field, "value").text = value
        answer = await self.asks(self.jid, query, "set")
        if answer.get("type") != "result":
            raise NotHeardError(f"{node} cannot be hidden")
