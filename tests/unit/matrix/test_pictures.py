import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from bridge.matrix import pictures as module
from bridge.matrix.client import Homeserver
from bridge.matrix.pictures import AT_ONCE_MAX, BROKEN_S, FRESH_S, TROUBLE_S, Pictures
from bridge.model.pictures import BYTES_MAX, NO_PICTURE, recognise
from tests.homeserver import AS_TOKEN, FakeHomeserver, Fault
from tests.unit.model.test_pictures import jpeg, png

ALICE, BOB = "@alice:hs", "@bob:far.example:8448"
FACE = png(96, 96)
MASK = jpeg(96, 96)


@dataclass
class World:
    server: FakeHomeserver
    pictures: Pictures
    homeserver: Homeserver
    now: float = 0.0

    def shows(self, mxid: str, file: object) -> None:
        self.server.profiles[mxid] = {"avatar_url": file}

    def downloads(self) -> int:
        return len(self.server.asked("/media/"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = FakeHomeserver()
    await server.start()
    server.media["face"] = FACE
    homeserver = Homeserver(server.url, AS_TOKEN, "hs")
    made = World(server, Pictures(homeserver), homeserver)
    made.pictures = Pictures(homeserver, lambda: made.now)
    made.shows(ALICE, "mxc://hs/face")
    yield made
    await homeserver.close()
    await server.stop()


async def test_somebody_looks_as_their_profile_says(world: World) -> None:
    assert await world.pictures.of(ALICE) == recognise(FACE)
    (asked,) = world.server.asked("/media/")
    assert asked[1].startswith("/_matrix/client/v1/media/thumbnail/hs/face?width=96&")
    assert "animated=false" in asked[1]


@pytest.mark.parametrize(
    "file",
    [
        None,
        "",
        7,
        "https://hs/face",
        "mxc://hs",
        "mxc://hs/",
        "mxc:///face",
        "mxc://hs/../../admin",
        "mxc://../face",
        "mxc://hs/face?x=/y",
        "mxc://hs/" + "x" * 256,
    ],
)
async def test_what_is_no_file_is_no_picture(world: World, file: object) -> None:
    world.shows(ALICE, file)

    assert await world.pictures.of(ALICE) is NO_PICTURE
    assert world.downloads() == 0


async def test_who_has_no_profile_shows_nothing(world: World) -> None:
    assert await world.pictures.of(BOB) is NO_PICTURE


@pytest.mark.parametrize(
    "fault",
    [
        Fault("profile", 502, "bad gateway"),
        Fault("profile", 429, {"errcode": "M_LIMIT_EXCEEDED"}),
        Fault("profile", 500, {"errcode": "M_UNKNOWN"}),
        Fault("media", 504, {"errcode": "M_NOT_YET_UPLOADED"}),
        Fault("media", 429, {"errcode": "M_LIMIT_EXCEEDED"}),
        Fault("media", 302, "", headers={"Location": "http://192.0.2.1/"}),
    ],
)
async def test_nobody_is_said_to_show_nothing_by_a_homeserver_in_trouble(
    world: World, fault: Fault
) -> None:
    world.server.faults.append(fault)

    assert await world.pictures.of(ALICE) is None
    world.now += TROUBLE_S
    assert await world.pictures.of(ALICE)


async def test_a_server_in_trouble_is_left_alone_for_a_while(world: World) -> None:
    world.server.faults.append(Fault("media", 502, "bad gateway"))

    assert await world.pictures.of(ALICE) is None
    assert await world.pictures.of(ALICE) is None
    assert world.downloads() == 1


async def test_what_was_uploaded_goes_nowhere_as_it_is(world: World) -> None:
    """What a homeserver makes no thumbnail of may be anything."""
    world.server.faults.append(Fault("thumbnail", 400, {"errcode": "M_UNKNOWN"}))

    assert await world.pictures.of(ALICE) is NO_PICTURE
    assert world.downloads() == 1


async def test_a_broken_file_is_asked_for_again_an_hour_later(world: World) -> None:
    world.server.media["face"] = b"GIF89a"

    assert await world.pictures.of(ALICE) is NO_PICTURE
    assert await world.pictures.of(ALICE) is NO_PICTURE
    assert world.downloads() == 1
    world.server.media["face"] = FACE
    world.now += BROKEN_S
    assert await world.pictures.of(ALICE)


async def test_a_picture_is_asked_for_once_for_all(world: World) -> None:
    world.shows(BOB, "mxc://hs/face")
    ask = world.pictures.of
    seen = await asyncio.gather(*map(ask, (ALICE, BOB, ALICE)))

    assert seen == [recognise(FACE)] * 3
    assert len(world.server.asked("profile")) == 2
    assert world.downloads() == 1


async def test_a_new_picture_is_seen_after_a_while(world: World) -> None:
    await world.pictures.of(ALICE)
    world.server.media["mask"] = MASK
    world.shows(ALICE, "mxc://hs/mask")

    assert await world.pictures.of(ALICE) == recognise(FACE)
    world.now += FRESH_S
    assert await world.pictures.of(ALICE) == recognise(MASK)
    world.shows(ALICE, "mxc://hs/face")
    world.now += FRESH_S
    assert await world.pictures.of(ALICE) == recognise(FACE)
    assert world.downloads() == 2


async def test_a_new_picture_is_seen_at_once_if_a_room_shows_it(world: World) -> None:
    await world.pictures.of(ALICE)
    world.server.media["mask"] = MASK
    world.shows(ALICE, "mxc://hs/mask")
    world.pictures.learn(ALICE, "mxc://hs/mask")

    assert await world.pictures.of(ALICE) == recognise(MASK)
    for _ in range(10):  # in as many rooms
        world.pictures.learn(ALICE, "mxc://hs/mask")
        await world.pictures.of(ALICE)
    assert len(world.server.asked("profile")) == 2


async def test_what_was_asked_before_a_room_showed_another_is_not_kept(
    world: World,
) -> None:
    gate = asyncio.Event()
    world.server.faults.append(Fault("profile", hold=gate))
    world.pictures.learn(BOB, "mxc://hs/mask")  # whom nobody has asked for
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(world.pictures.of(ALICE))
        while not world.server.requests:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        world.pictures.learn(ALICE, "mxc://hs/mask")
        gate.set()
    world.server.media["mask"] = MASK
    world.shows(ALICE, "mxc://hs/mask")

    assert first.result() == recognise(FACE)
    assert await world.pictures.of(ALICE) == recognise(MASK)


async def endless(request: web.Request) -> web.StreamResponse:
    """Say that little comes, and send for ever."""
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    await response.prepare(request)
    while True:
        await response.write(b"\x89PNG\r\n\x1a\n" + b"x" * 8192)


async def test_who_sends_without_end_is_cut_off(world: World) -> None:
    world.server.media["face"] = endless  # type: ignore[assignment]
    async with asyncio.timeout(5):
        assert await world.pictures.of(ALICE) is NO_PICTURE


async def test_what_is_too_large_is_no_picture(world: World) -> None:
    world.server.media["face"] = FACE + b"x" * BYTES_MAX

    assert await world.pictures.of(ALICE) is NO_PICTURE


async def squeezed(request: web.Request) -> web.Response:
    """Send few bytes that would become very many."""
    packed = web.Response(body=FACE)
    packed.headers["Content-Encoding"] = "gzip"
    assert request.headers["Accept-Encoding"] == "identity"
    return packed


async def test_nothing_is_unpacked(world: World) -> None:
    """What claims to be packed is taken as it is."""
    world.server.media["face"] = squeezed

    assert await world.pictures.of(ALICE) == recognise(FACE)


async def test_who_is_slow_holds_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)
    doubts: list[None] = []
    world.homeserver.on_trouble = lambda: doubts.append(None)
    world.server.faults.append(Fault("media", hang=True, times=100))

    assert await world.pictures.of(ALICE) is None
    assert doubts == []


async def test_few_are_downloaded_at_once(world: World) -> None:
    gate = asyncio.Event()
    world.server.faults.append(Fault("media", hold=gate, times=100))
    people = [f"@p{n}:hs" for n in range(AT_ONCE_MAX + 4)]
    for number, mxid in enumerate(people):
        world.shows(mxid, f"mxc://hs/{number}")
        world.server.media[str(number)] = FACE
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(world.pictures.of(mxid)) for mxid in people]
        async with asyncio.timeout(5):
            while world.downloads() < AT_ONCE_MAX:  # noqa: ASYNC110 - a count
                await asyncio.sleep(0)
        await world.homeserver.request("GET", "/_matrix/client/v3/account/whoami")

        assert world.downloads() == AT_ONCE_MAX
        gate.set()
    assert all(one.result() for one in asking)


async def test_few_profiles_are_asked_for_at_once(world: World) -> None:
    """Profiles of other servers may take long, and others wait for connections."""
    gate = asyncio.Event()
    world.server.faults.append(Fault("profile", hold=gate, times=100))
    async with asyncio.TaskGroup() as tasks:
        for number in range(AT_ONCE_MAX + 40):
            tasks.create_task(world.pictures.of(f"@p{number}:hs"))
        async with asyncio.timeout(5):
            while len(world.server.requests) < AT_ONCE_MAX:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0)
            await world.homeserver.request("GET", "/_matrix/client/v3/account/whoami")
        gate.set()


@pytest.mark.parametrize(("bound", "most"), [("ROOM_MAX", len(FACE)), ("FILES_MAX", 1)])
async def test_what_is_kept_has_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(module, bound, most)
    world.shows(BOB, "mxc://hs/other")
    world.server.media["other"] = FACE
    for mxid in (ALICE, BOB, BOB, ALICE):
        assert await world.pictures.of(mxid)

    assert world.downloads() == 3
    assert world.pictures._size == len(FACE)


async def test_a_profile_in_trouble_is_asked_for_once_for_all(world: World) -> None:
    """Else each of many who want to see it would wait for the one before."""
    world.server.faults.append(Fault("profile", 502, "bad gateway", times=100))
    ask = world.pictures.of

    assert await asyncio.gather(*(ask(ALICE) for _ in range(5))) == [None] * 5
    assert len(world.server.asked("profile")) == 1


async def test_who_gives_up_leaves_no_doubt_behind(world: World) -> None:
    gate = asyncio.Event()
    world.server.faults.append(Fault("profile", hold=gate))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(world.pictures.of(ALICE))
        while not world.server.requests:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        world.pictures.learn(ALICE, "mxc://hs/mask")
        first.cancel()
    gate.set()

    await world.pictures.of(ALICE)
    await world.pictures.of(ALICE)
    assert len(world.server.asked("profile")) == 2
