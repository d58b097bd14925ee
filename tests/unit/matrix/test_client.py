from collections.abc import AsyncIterator

import pytest

from bridge.matrix.client import (
    Homeserver,
    HomeserverDownError,
    MatrixError,
    event_id,
    join,
    masquerade,
    read,
)
from bridge.matrix.http import Answer
from tests.homeserver import AS_TOKEN, FakeHomeserver, Fault

WHOAMI = join("account", "whoami")
GHOST = "@_xmpp_juliet=40capulet.lit:hs"


@pytest.fixture
async def fake() -> AsyncIterator[FakeHomeserver]:
    fake = FakeHomeserver()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def homeserver(fake: FakeHomeserver) -> AsyncIterator[Homeserver]:
    homeserver = Homeserver(fake.url, AS_TOKEN, "hs")
    yield homeserver
    await homeserver.close()


async def test_a_request_is_made_in_the_name_of_a_ghost_on_its_device(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    fake.users.add(GHOST)

    answer = await homeserver.request("GET", WHOAMI, user=GHOST, device="D/1")

    assert answer == {"user_id": GHOST}
    assert fake.requests[0][1].endswith(
        "?user_id=%40_xmpp_juliet%3D40capulet.lit%3Ahs"
        "&device_id=D%2F1&org.matrix.msc3202.device_id=D%2F1"
    )


async def test_the_token_is_never_in_an_address(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    await homeserver.request("GET", WHOAMI)
    await homeserver.send(WHOAMI, b"{}")

    assert all(AS_TOKEN not in path for _, path in fake.requests)


async def test_an_event_sent_twice_is_one(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    fake.users.add(GHOST)
    room = (await homeserver.request("POST", join("createRoom"), user=GHOST, body={}))[
        "room_id"
    ]
    path = join("rooms", room, "send", "m.room.message", "txn")
    path += "?" + masquerade(GHOST, "XMPPBRIDGE")

    first = await homeserver.send(path, b'{"body":"tea"}')
    second = await homeserver.send(path, b'{"body":"tea"}')

    assert event_id(first) == event_id(second)


async def test_a_no_of_the_homeserver_is_a_matrix_error(homeserver: Homeserver) -> None:
    with pytest.raises(MatrixError) as raised:
        await homeserver.request("GET", WHOAMI, user="@stranger:hs")

    assert (raised.value.status, raised.value.errcode) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "headers", "wait_s"),
    [
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1500}, {}, 1.5),
        ("", {"Retry-After": "7"}, 7),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": "soon"}, {}, 1),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": -5}, {}, 1),
        ({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1e300}, {}, 3600),
    ],
)
async def test_too_many_requests_say_how_long_to_wait(
    fake: FakeHomeserver,
    homeserver: Homeserver,
    body: object,
    headers: dict[str, str],
    wait_s: float,
) -> None:
    fake.faults.append(Fault("whoami", 429, body, headers=headers))

    with pytest.raises(MatrixError) as raised:
        await homeserver.request("GET", WHOAMI)

    assert raised.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    "fault",
    [
        Fault("whoami", 502, {"errcode": "M_UNKNOWN"}),
        Fault("whoami", 503, "<html>"),
        Fault("whoami", 504, ""),
        Fault("whoami", 500, "Internal Server Error"),
        Fault("whoami", 404, "<html>no such site</html>"),
        Fault("whoami", 200, "<html>welcome</html>"),
        Fault("whoami", 200, '{"user_id": "@a'),
        Fault("whoami", 200, [1]),
        Fault("whoami", 302, "", headers={"Location": "http://192.0.2.1/"}),
        Fault("whoami"),
    ],
)
async def test_what_tells_nothing_is_to_be_repeated(
    fake: FakeHomeserver, homeserver: Homeserver, fault: Fault
) -> None:
    """facts/reliability.md E 90: a 200 with HTML is ambiguous."""
    fake.faults.append(fault)
    fault.times = 2  # aiohttp repeats a GET once itself when the connection ends
    doubts: list[None] = []
    homeserver.on_trouble = lambda: doubts.append(None)

    with pytest.raises(HomeserverDownError):
        await homeserver.request("GET", WHOAMI)

    assert bool(doubts) is (fault.status == 0)


async def test_silence_ends(fake: FakeHomeserver, homeserver: Homeserver) -> None:
    fake.faults.append(Fault("whoami", hang=True))

    with pytest.raises(HomeserverDownError):
        await homeserver.request("GET", WHOAMI, timeout_s=0.05)


async def test_a_homeserver_that_is_not_there_is_down() -> None:
    homeserver = Homeserver("http://127.0.0.1:1", AS_TOKEN, "hs")

    with pytest.raises(HomeserverDownError, match=r"^Connection refused$"):
        await homeserver.request("GET", WHOAMI)
    with pytest.raises(HomeserverDownError):
        await homeserver.send(WHOAMI, b"")
    assert await homeserver.alive() is False
    await homeserver.close()


async def test_a_homeserver_behind_a_path_is_found(fake: FakeHomeserver) -> None:
    homeserver = Homeserver(fake.url + "/hidden/", AS_TOKEN, "hs")

    answer = await homeserver.send("/_matrix/x", b"")
    with pytest.raises(MatrixError, match="M_UNRECOGNIZED"):
        await homeserver.request("GET", "/_matrix/y")
    await homeserver.close()

    assert answer.status == 404
    assert [path for _, path in fake.requests] == [
        "/hidden/_matrix/x",
        "/hidden/_matrix/y",
    ]


async def test_half_a_character_in_an_answer_harms_nothing(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    fake.faults.append(Fault("whoami", 200, '{"user_id": "\\ud83d!", "n": NaN}'))

    assert await homeserver.request("GET", WHOAMI) == {"user_id": "\ufffd!", "n": None}


async def test_alive_means_that_the_versions_are_told(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    fake.faults.append(Fault("versions", 404, "<html>"))
    fake.faults.append(Fault("versions", 200, "<html>"))

    assert [await homeserver.alive() for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("url", ["hs.example", "ftp://hs.example", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the address"):
        Homeserver(url, AS_TOKEN, "hs")


def test_paths_are_encoded_part_by_part() -> None:
    assert join("rooms", "!a/b:hs", "send", "m.é", version="v1") == (
        "/_matrix/client/v1/rooms/%21a%2Fb%3Ahs/send/m.%C3%A9"
    )


def test_nobody_needs_no_masquerade() -> None:
    assert masquerade("") == ""
    assert masquerade("@a:hs") == "user_id=%40a%3Ahs"


@pytest.mark.parametrize("name", [b"{}", b'{"event_id":5}', b'{"event_id":""}'])
def test_an_event_without_a_name_was_perhaps_sent(name: bytes) -> None:
    with pytest.raises(HomeserverDownError):
        event_id(Answer(200, name))


def test_a_proxy_that_finds_it_too_large_will_always() -> None:
    with pytest.raises(MatrixError, match="M_TOO_LARGE"):
        read(Answer(413, b"<html>"))


async def test_a_download_is_what_is_there(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    fake.media["face"] = b"\x89PNG"
    path = join("media", "download", "hs", "face", version="v1")

    data = await homeserver.fetch(path, {}, bytes_max=4, timeout_s=5)

    assert data == b"\x89PNG"
    with pytest.raises(MatrixError, match="M_TOO_LARGE"):
        await homeserver.fetch(path, {}, bytes_max=3, timeout_s=5)
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        await homeserver.fetch(path + "s", {}, bytes_max=99, timeout_s=5)


async def test_who_keeps_a_file_may_be_slow_without_harm(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    """The homeserver waits for others: that says nothing of itself."""
    fake.faults.append(Fault("media", hang=True))
    doubts: list[None] = []
    homeserver.on_trouble = lambda: doubts.append(None)
    path = join("media", "download", "hs", "face", version="v1")

    with pytest.raises(HomeserverDownError):
        await homeserver.fetch(path, {}, bytes_max=3, timeout_s=0.05)

    assert doubts == []


async def test_a_download_goes_nowhere_else(
    fake: FakeHomeserver, homeserver: Homeserver
) -> None:
    """A redirect would carry the token to somebody else."""
    elsewhere = {"Location": "http://192.0.2.1/"}
    fake.faults.append(Fault("media", 302, "", headers=elsewhere))

    with pytest.raises(HomeserverDownError):
        await homeserver.fetch("/_matrix/media", {}, bytes_max=99, timeout_s=5)
