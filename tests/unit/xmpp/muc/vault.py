"""A private room that we host, and people who encrypt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from bridge.model.delivery import (
    Later,
    Outcome,
    Parcel,
    Refusal,
    Route,
    Wire,
)
from bridge.model.events import Protection
from bridge.model.places import Network, Room
from tests.unit.xmpp.muc.cipher import (
    FakeCipher,
)
from tests.unit.xmpp.muc.world import (
    ALICE,
    DOMAIN,
    ROMEO,
    VAULT,
    MucWorld,
    message,
)

RELAY = f"relay@{DOMAIN}"
ALICES = f"alice_hs.example@{DOMAIN}"
ROMEOS, JULIETS = "romeo@montague.lit", "juliet@capulet.lit"


@dataclass
class Vault:
    """A private room, in which Romeo and Juliet are."""

    around: MucWorld
    cipher: FakeCipher

    async def enters(self, jid: str) -> list[Element]:
        bare = jid.partition("/")[0]
        self.around.hosted._rooms.set_standing(VAULT, bare, "member")
        await self.around.joins(jid, bare.partition("@")[0], VAULT)
        self.around.inbound.arrivals.clear()
        return self.around.written(jid)

    def encrypts(self, *, exposed: bool = False) -> None:
        portal = self.around.host.make(VAULT)
        self.around.host.portals[VAULT] = replace(
            portal, encrypted=True, exposed=exposed
        )

    async def hears(self, inside: str, name: str = "m1") -> None:
        self.around.comes(
            f"<message type='groupchat' from='{ROMEO}' to='{VAULT}' id='{name}'>"
            f"{inside}</message>"
        )
        await self.around.carried(room=VAULT)

    def says(self, text: str, *, sealed: bool = True, number: int = 1) -> Parcel:
        said = message(ALICE, text, "Alice", number)
        if sealed:
            said = replace(said, protection=Protection.END_TO_END)
        route = Route(self.around.host.make(VAULT), Room(Network.XMPP, VAULT))
        wires = self.around.hosted.prepare(said, route)
        assert not isinstance(wires, Refusal)
        return self.kept(wires[-1])

    def kept(self, wire: Wire) -> Parcel:
        parcel = self.around.parcel(wire, VAULT)
        self.around.store.archived.append(parcel)
        return parcel

    async def sends(self, *parcels: Parcel) -> Sequence[Outcome | Later]:
        return await self.around.hosted.send(parcels)
