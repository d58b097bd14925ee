import asyncio
from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.codec.peek import UNREAD
from bridge.xmpp.component import (
    SharedDomainError,
)
from tests.component_server import ComponentServer
from tests.unit.xmpp.streams import Bridge


async def test_messages_and_presences_come_in_order(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running():
        server.send(b"<message id='1'/><presence id='2'/>")
        server.send(b"<message xmlns='jabber:client' id='3'><body>x</body></message>")
        server.send(b"<message to='puppet@bridge.example' type='groupchat' id='n'/>")
        server.send(b"<iq type='get' id='4' to='a@bridge.example' from='x'/>")

        stanzas = [await bridge.next() for _ in range(4)]

    assert [one.get("id") for one in stanzas] == ["1", "2", "3", "4"]
    assert stanzas[2][0].tag == "{jabber:component:accept}body"


async def test_questions_about_the_component_are_answered(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running():
        ask = (
            b" type='get' to='bridge.example' from='r@x'><ping xmlns='urn:xmpp:ping'/>"
        )
        server.send(b"<iq" + ask + b"</iq>")
        server.send(b"<iq id='7'" + ask + b"</iq>")

        answer = await server.next()

    assert (answer.get("type"), answer.get("id")) == ("result", "7")
    assert bridge.received.empty()


async def test_a_wrong_secret_is_refused(bridge: Bridge) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await bridge.run_until_refused("wrong")

    assert "not-authorized" in str(caught.value.exceptions[0])


async def test_another_bridge_under_our_domain_is_noticed(
    bridge: Bridge, server: ComponentServer
) -> None:
    """Row 17."""
    turns = iter(range(1000))
    server.route = lambda _: bool(next(turns) % 2)

    with pytest.raises(ExceptionGroup) as caught:
        await bridge.run_until_refused()

    assert isinstance(caught.value.exceptions[0], SharedDomainError)


async def test_junk_from_the_server_ends_the_stream_but_not_the_bridge(
    bridge: Bridge, server: ComponentServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with bridge.running():
        server.send(b"<message><body>private words</nobody>")

        assert await bridge.next_up()

    assert "private words" not in caplog.text


async def test_too_large_a_stanza_is_answered_with_an_error(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running():
        for name in (b"message", b"presence"):
            server.send(
                b"<"
                + name
                + b" xmlns='jabber:client' from='r@x' to='a@bridge.example'>"
                + b"<x>y</x>" * 100_000
                + b"</"
                + name
                + b">"
            )
        server.send(b"<message id='2'/>")

        assert (await bridge.next()).get("id") == "2"
        assert (await server.next()).get("type") == "error"
        assert server.stanzas.empty()


@pytest.mark.parametrize("to", ["bot@bridge.example/bridge", "#r@bridge.example"])
async def test_a_room_elsewhere_is_never_answered_with_an_error(
    bridge: Bridge, server: ComponentServer, to: str
) -> None:
    """XEP-0045 §9.1 and all its services: who answers so is put out of the room."""
    answered = to.startswith("#")
    deep = b"<a>" * 300 + b"</a>" * 300
    about = (
        b" from='tea@muc.example/Hatter' type='groupchat' to='" + to.encode() + b"'>"
    )
    async with bridge.running() as stream:
        server.send(b"<message" + about + deep + b"</message><presence id='2'/>")
        stanzas = [await bridge.next()]
        if not answered:
            stanzas.append(await bridge.next())
        assert await stream.barrier()

    assert "2" in {one.get("id") for one in stanzas}
    assert (UNREAD in {one.tag for one in stanzas}) is not answered
    assert server.stanzas.empty() is not answered


async def test_a_fault_of_the_receiver_costs_one_stanza(
    bridge: Bridge, server: ComponentServer, caplog: pytest.LogCaptureFixture
) -> None:
    def received(stanza: Element) -> None:
        if stanza.get("id") == "1":
            raise KeyError
        bridge.received.put_nowait(stanza)

    async with asyncio.TaskGroup() as tasks:
        stream = bridge.make(tasks)
        stream._received = received
        tasks.create_task(stream.run())
        await bridge.next_up()
        server.send(b"<message id='1'/><message id='2'/>")
        assert (await bridge.next()).get("id") == "2"
        await stream.close()

    assert "fault of the bridge" in caplog.text
