"""Lets people allow, or forbid, that encrypted words go on in the clear.

The bridge reads and encrypts anew: what is encrypted on one side only would reach the
other in the clear. That is refused until somebody who may has said that it is well.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.ports import Adapter, MatrixRooms, Unit, XmppRooms
from bridge.model.delivery import Refusal
from bridge.model.events import PREFIXES, Command, Protection, Rank
from bridge.model.places import Network, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

ALLOWED = (
    "From now on encrypted messages of this room go on in the clear to the other side"
    " of the bridge, wherever that is not encrypted itself. To undo that: {prefix}"
    " plaintext forbid"
)
FORBIDDEN = (
    "From now on encrypted messages of this room are not delivered to the other side"
    " of the bridge, unless that is encrypted, too."
)
UNLINKED = "This room is not linked with any."
NAMES = {Network.MATRIX: "Matrix", Network.XMPP: "XMPP"}
STATES = {
    Protection.END_TO_END: "end-to-end encrypted, as far as the bridge",
    Protection.TRANSPORT: "not end-to-end encrypted",
}
_ALONE = "not end-to-end encrypted, unless the people there use OMEMO"
HOSTED = {
    (Protection.TRANSPORT, False): _ALONE,
    (Protection.TRANSPORT, True): _ALONE,
    (Protection.END_TO_END, False): (
        "what is encrypted on Matrix goes on with OMEMO, or is refused if somebody"
        " there has none"
    ),
    (Protection.END_TO_END, True): (
        "what is encrypted on Matrix goes on with OMEMO, or in the clear if somebody"
        " there has none"
    ),
}


class Consent:
    """What the people of each portal have agreed to."""

    def __init__(
        self,
        adapters: Mapping[Network, Adapter],
        directory: Directory,
        dispatch: Dispatch,
        matrix: MatrixRooms,
        xmpp: XmppRooms,
    ) -> None:
        self._adapters = adapters
        self._directory = directory
        self._dispatch = dispatch
        self._matrix = matrix
        self._xmpp = xmpp

    async def obey(
        self, event: Command, verb: str, said: Sequence[str], unit: Unit
    ) -> str:
        """Do what *event*, of *verb* and what is *said* with it, asks; answer it."""
        match verb:
            case "plaintext":
                return await self.decide(event, " ".join(said), unit)
            case "confirm":
                return await self.confirm(event, unit)
            case "omemo":
                return await self.omemo(event, said)
            case _:
                return await self.devices(event)

    async def decide(self, event: Command, word: str, unit: Unit) -> str:
        """Do as *event* says, if its sender may; return the answer."""
        portal = self._directory.portal(event.room)
        prefix = PREFIXES[event.room.network]
        if portal is None:
            return UNLINKED
        if word not in ("allow", "forbid"):
            return self._state(portal, prefix)
        if event.rank < Rank.ADMIN and not self._is_theirs(event, portal):
            return "Only admins of this room may decide that."
        exposed = word == "allow"
        changed = replace(portal, exposed=exposed)
        self._directory.put(changed, unit)
        logger.info("portal %d: plaintext: %s", portal.id, word)
        words = ALLOWED if exposed else FORBIDDEN
        # Both sides are told: it is the words of both that become less, or more, safe.
        far = self._directory.far(portal, event.room)
        told = f"By {_name(event)}: {words.format(prefix=PREFIXES[far.network])}"
        notice = self._adapters[far.network].notice(far, told)
        self._dispatch.add(unit, far, notice)
        if exposed:
            await self._dispatch.retry(portal, Refusal.WOULD_EXPOSE, unit)
        return words.format(prefix=prefix)

    async def confirm(self, event: Command, unit: Unit) -> str:
        """Believe that whose encryption identity has changed is still who they were."""
        portal = self._directory.portal(event.room)
        if portal is None:
            return UNLINKED
        if event.rank < Rank.ADMIN and not self._is_theirs(event, portal):
            return "Only admins of this room may decide that."
        whose = await self._matrix.confirm(portal.matrix)
        if isinstance(whose, Refusal):
            return f"Who is in the room cannot be read: {whose.value}."
        if not whose:
            return "Nobody's encryption identity has changed."
        await self._dispatch.retry(portal, Refusal.UNENCRYPTABLE, unit)
        return f"The new encryption identity is accepted of: {', '.join(whose)}."

    async def devices(self, event: Command) -> str:
        """Tell how safe each side is, and how people check our devices."""
        portal = self._directory.portal(event.room)
        lines = [await self._matrix.devices(event.room.address)]
        if event.room.network is Network.XMPP:
            lines = [await self._xmpp.devices.ours(event.room, portal)]
        if portal is not None:
            chat = await self._xmpp.devices.state(portal)
            special = {Network.XMPP: chat}
            lines += [
                f"{name}: {special.get(network) or self._protection(network, portal)}."
                for network, name in NAMES.items()
            ]
            lines.append(self._state(portal, PREFIXES[event.room.network]))
        lines.append(
            "The bridge decrypts and encrypts anew (end-to-bridge): whoever runs it"
            " can read along."
        )
        return "\n".join(filter(None, lines))

    async def omemo(self, event: Command, said: Sequence[str]) -> str:
        """Show the devices of the people of XMPP, or decide on one as *said*.

        Everybody decides for what they write themselves.
        """
        portal = self._directory.portal(event.room)
        if portal is None:
            return UNLINKED
        if event.room.network is Network.XMPP:
            return await self.devices(event)
        if portal.kind is Kind.DIRECT and not self._is_theirs(event, portal):
            return "Whose chat it is on Matrix decides that."
        devices = self._xmpp.devices
        match said:
            case []:
                return await devices.theirs(portal, event.sender)
            case ["trust" | "distrust" as verb, _, *_]:
                trusted = verb == "trust"
                fingerprint = "".join(said[1:])
                return await devices.decide(
                    portal, event.sender, fingerprint, trusted=trusted
                )
            case _:
                return (
                    "!xmpp omemo, omemo trust FINGERPRINT, omemo distrust FINGERPRINT"
                )

    def _protection(self, network: Network, portal: Portal) -> str:
        if network is Network.XMPP and portal.kind is Kind.HOSTED:
            # Who is there changes with every minute: this is what is kept to.
            sealed = self._adapters[Network.MATRIX].protection(portal)
            return HOSTED[sealed, portal.exposed]
        return STATES[self._adapters[network].protection(portal)]

    def _state(self, portal: Portal, prefix: str) -> str:
        if portal.exposed:
            return f"Encrypted messages may go on in the clear ({prefix} plaintext)."
        return (
            "Encrypted messages do not go on in the clear;"
            f" {prefix} plaintext allow permits it."
        )

    def _is_theirs(self, event: Command, portal: Portal) -> bool:
        """Tell whether *event* is of one of the two people of a direct chat."""
        if portal.kind is not Kind.DIRECT:
            return False
        chat = Room(Network.XMPP, portal.xmpp)
        guest = self._xmpp.addressee(chat)
        return event.room.network is Network.XMPP or event.sender == guest


def _name(event: Command) -> str:
    return event.name or event.sender.id
