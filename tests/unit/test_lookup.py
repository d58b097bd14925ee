from dataclasses import dataclass, field
from typing import cast

import pytest

from bridge.core.ports import Host
from bridge.lookup import Addresses, Queries
from bridge.model.delivery import Refusal
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal
from tests.unit.matrix.world import GHOST, MatrixWorld, matrix_world

OURS = Addresses("bridge.example")
PORTAL = Portal(PortalId(1), Kind.FOREIGN, "!tea:hs", "tea@muc.example", "@bot:hs")


@dataclass
class Rooms:
    """The part of the core that makes rooms."""

    answer: Portal | Refusal = PORTAL
    asked: list[Room] = field(default_factory=list)

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        self.asked.append(muc)
        return self.answer


def queries(matrix: MatrixWorld, rooms: Rooms) -> Queries:
    return Queries("hs", matrix.adapter, cast("Host", rooms))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("@alice:hs", "alice_hs@bridge.example"),
        ("#tea:hs", "#tea#hs@bridge.example"),
    ],
)
def test_an_address_of_ours_and_what_it_stands_for_tell_each_other(
    name: str, address: str
) -> None:
    assert OURS.of(name) == address
    assert OURS.stands_for(address) == name


@pytest.mark.parametrize("name", ["", "alice", "#tea", "@alice", "!room:hs"])
def test_what_is_no_name_has_no_address(name: str) -> None:
    assert OURS.of(name) == ""


@pytest.mark.parametrize(
    "address", ["", "alice_hs@other.example", "bridge.example", "a@b@c", "@"]
)
def test_what_is_no_address_of_ours_stands_for_nobody(address: str) -> None:
    assert OURS.stands_for(address) == ""


def test_addresses_are_compared_in_one_form() -> None:
    assert OURS.canonical("Juliet@Capulet.lit/balcony") == "juliet@capulet.lit"
    assert OURS.canonical("a b@c d") == ""


async def test_a_user_of_ours_that_is_asked_for_is_made() -> None:
    async with matrix_world() as matrix:
        assert await queries(matrix, Rooms()).user(GHOST)

        assert GHOST in matrix.server.users


@pytest.mark.parametrize(
    "mxid",
    ["@alice:hs", "@xmppbot:hs", "@_xmpp_juliet=40capulet.lit:other", "@_xmpp_=40:hs"],
)
async def test_others_are_no_users_of_ours(mxid: str) -> None:
    async with matrix_world() as matrix:
        before = set(matrix.server.users)

        assert not await queries(matrix, Rooms()).user(mxid)

        assert matrix.server.users == before


async def test_the_room_of_a_muc_that_is_asked_for_is_made() -> None:
    rooms = Rooms()
    async with matrix_world() as matrix:
        assert await queries(matrix, rooms).alias("#_xmpp_tea_muc.example:hs")

    assert rooms.asked == [Room(Network.XMPP, "tea@muc.example")]


@pytest.mark.parametrize("alias", ["#tea:hs", "#_xmpp_tea_muc.example:other", "tea"])
async def test_other_aliases_are_no_rooms_of_ours(alias: str) -> None:
    rooms = Rooms()
    async with matrix_world() as matrix:
        assert not await queries(matrix, rooms).alias(alias)

    assert rooms.asked == []


async def test_a_muc_that_cannot_be_entered_is_no_room() -> None:
    rooms = Rooms(Refusal.NO_SUCH_ROOM)
    async with matrix_world() as matrix:
        assert not await queries(matrix, rooms).alias("#_xmpp_tea_muc.example:hs")
