import asyncio

import pytest

from bridge.xmpp import trial
from bridge.xmpp.component import ComponentRefusedError
from bridge.xmpp.trial import Trial
from tests.component_server import DOMAIN, SECRET, ComponentServer

MESSAGE = (
    b"<message from='juliet@capulet.lit/x' to='alice_hs@bridge.example' id='m1'>"
    b"<body>hi</body></message>"
)


def trial_of(server: ComponentServer, secret: str = SECRET) -> Trial:
    return Trial(domain=DOMAIN, secret=secret, host="127.0.0.1", port=server.port)


async def test_a_server_that_accepts_us_is_left_again(server: ComponentServer) -> None:
    await trial_of(server).shake_hands()

    assert server.handshakes == 1


async def test_what_is_wrong_is_raised_as_it_is(server: ComponentServer) -> None:
    with pytest.raises(ComponentRefusedError):
        await trial_of(server, "wrong").shake_hands()
    await server.stop()
    with pytest.raises(OSError):  # noqa: PT011 - each loop says it otherwise
        await trial_of(server).shake_hands()


async def test_whoever_writes_meanwhile_is_told(server: ComponentServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(trial_of(server).upload_service("example"))
        asked = await server.next()
        server.send(MESSAGE)
        answer = await server.next()
        error = (
            f"<iq type='error' id='{asked.get('id')}' from='example' to='{DOMAIN}'/>"
        )
        server.send(error.encode())

    assert looking.result() == ""
    assert answer.get("type") == "error"
    assert answer.get("to") == "juliet@capulet.lit/x"
    assert answer.get("id") == "m1"


async def test_a_refusal_meanwhile_is_no_service(
    server: ComponentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "ALL_S", 0.2)
    server.refuse = "host-unknown"

    assert await trial_of(server).upload_service("example") == ""


async def test_a_server_tells_its_version(server: ComponentServer) -> None:
    """XEP-0092 §2."""
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(trial_of(server).version("example"))
        asked = await server.next()
        answer = (
            f"<iq type='result' id='{asked.get('id')}' from='example' to='{DOMAIN}'>"
            "<query xmlns='jabber:iq:version'><name>ejabberd</name>"
            "<version>24.10</version></query></iq>"
        )
        server.send(answer.encode())

    assert looking.result() == ("ejabberd", "24.10")
