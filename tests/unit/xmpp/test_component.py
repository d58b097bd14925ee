import asyncio
import logging

import pytest

from bridge.xmpp import component
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.component import (
    ComponentRefusedError,
    IqError,
    NotConnectedError,
    Stream,
)
from bridge.xmpp.written import Written
from tests.component_server import ComponentServer
from tests.unit.xmpp.streams import ALICE, JULIET, PING, Bridge, message


async def test_it_shakes_hands_and_comes_up(bridge: Bridge) -> None:
    async with bridge.running() as stream:
        assert stream.connected

    assert not stream.connected
    assert bridge.downs == 1


async def test_what_is_written_leaves_in_order_and_is_marked(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running() as stream:
        assert stream.write(message("1"), [1])
        assert stream.write(message("2"), [2, 3])
        await stream.drained()
        stanzas = [await server.next() for _ in range(2)]
        assert await stream.barrier()

    assert [one[0].text for one in stanzas] == ["1", "2"]
    assert Written(bridge.path, "db").earlier == {1, 2, 3}


async def test_nothing_is_written_without_a_stream(bridge: Bridge) -> None:
    async with asyncio.TaskGroup() as tasks:
        stream = bridge.make(tasks)

        assert not stream.write(message())
        assert not await stream.barrier()
        assert not await stream.ping(JULIET, ALICE, 1)
        await stream.drained()
        stream.pause()
        stream.resume()
        with pytest.raises(NotConnectedError):
            await stream.iq("get", JULIET, ALICE, PING)
        await stream.close()


async def test_a_question_is_answered(bridge: Bridge, server: ComponentServer) -> None:
    async def ask(stream: Stream) -> list[object]:
        answer = await stream.iq("get", JULIET, ALICE, PING)
        try:
            await stream.iq("set", JULIET, ALICE, PING)
        except IqError as error:
            return [answer.get("type"), error.condition]
        return []

    async with bridge.running() as stream, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(ask(stream))
        for kind, inside in (("result", b""), ("error", b"<error><gone/></error>")):
            name = (await server.next()).get("id", "").encode()
            server.send(
                b"<iq type='"
                + kind.encode()
                + b"' id='"
                + name
                + b"' to='"
                + ALICE.encode()
                + b"' from='"
                + JULIET.encode()
                + b"'>"
                + inside.replace(
                    b"gone", b"gone xmlns='" + b"urn:ietf:params:xml:ns:xmpp-stanzas'"
                )
                + b"</iq>"
            )

    assert asked.result() == ["result", "gone"]


async def test_silence_is_no_answer(bridge: Bridge, server: ComponentServer) -> None:
    async with bridge.running() as stream:
        assert not await stream.ping(JULIET, ALICE, 0.01)
        with pytest.raises(TimeoutError):
            await stream.iq("get", JULIET, ALICE, PING, 0.01)
        server.send(b"<iq type='result' id='late' from='x' to='y'/>")
        assert await stream.barrier()


async def test_a_lost_stream_answers_all_who_wait(
    bridge: Bridge, server: ComponentServer
) -> None:
    server_is_silent = asyncio.Event()

    async with bridge.running() as stream:
        server.route = lambda _: server_is_silent.is_set()
        async with asyncio.TaskGroup() as tasks:
            barrier = tasks.create_task(stream.barrier())
            ping = tasks.create_task(stream.ping(JULIET, ALICE, 5))
            await server.next()
            server_is_silent.set()
            server.cut()
        assert not barrier.result()
        assert not ping.result()
        assert await bridge.next_up()

    assert bridge.downs == 2


WAITED = b"<message id='1'/><iq type='get' id='2'/><presence id='3'/>"


async def test_what_comes_with_the_handshake_is_answered(
    bridge: Bridge, server: ComponentServer
) -> None:
    """The server routes to us before we know that the stream is ours alone."""
    server.welcome = WAITED
    bridge.answer = lambda _: message()

    async with bridge.running():
        stanzas = [await bridge.next() for _ in range(3)]
        server.send(b"<presence id='4'/>")
        stanzas.append(await bridge.next())

    assert [stanza.get("id") for stanza in stanzas] == ["1", "2", "3", "4"]
    assert bridge.answered == [True] * 4


async def test_what_came_is_kept_though_the_stream_is_lost_before_it_is_used(
    bridge: Bridge, server: ComponentServer
) -> None:
    """Nobody would send it again: the server has handed it over."""
    server.welcome = WAITED
    server.route = lambda _: False

    async with asyncio.TaskGroup() as tasks:
        stream = bridge.make(tasks)
        tasks.create_task(stream.run())
        await server.shaken(1)
        server.cut()
        stanzas = [await bridge.next() for _ in range(3)]
        await stream.close()

    assert [stanza.get("id") for stanza in stanzas] == ["1", "2", "3"]


async def test_it_comes_back_after_the_server_does(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running() as stream:
        await server.stop()
        await server.start()

        assert await bridge.next_up()
        assert stream.connected

    assert server.handshakes == 2


@pytest.mark.parametrize("condition", ["host-unknown", "conflict"])
async def test_a_refusal_is_final_at_first(
    bridge: Bridge, server: ComponentServer, condition: str
) -> None:
    server.refuse = condition

    with pytest.raises(ExceptionGroup) as caught:
        await bridge.run_until_refused()

    refusal = caught.value.exceptions[0]
    assert isinstance(refusal, ComponentRefusedError)
    assert refusal.condition == condition
    assert refusal.remedy
    assert server.handshakes == 1


async def test_a_server_that_knew_us_may_refuse_us_for_a_while(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running():
        server.refuse = "host-unknown"
        server.fail("system-shutdown")
        await server.shaken(3)
        server.refuse = ""

        assert await bridge.next_up()


async def test_a_refusal_that_lasts_is_final(
    bridge: Bridge, server: ComponentServer
) -> None:
    async def refuse() -> None:
        server.refuse = "not-authorized"
        server.cut()

    bridge.when_up = refuse

    with pytest.raises(ExceptionGroup):
        await bridge.run_until_refused()

    assert server.handshakes == 2 + component.REFUSALS_MAX


async def test_whoever_takes_our_place_has_it(
    bridge: Bridge, server: ComponentServer
) -> None:
    async def replace() -> None:
        server.fail("conflict")

    bridge.when_up = replace

    with pytest.raises(ExceptionGroup):
        await bridge.run_until_refused()

    assert server.handshakes == 1


async def test_a_server_that_routes_nothing_is_tried_again(
    bridge: Bridge, server: ComponentServer
) -> None:
    server.route = lambda _: server.handshakes > 1

    async with bridge.running():
        assert server.handshakes == 2


async def test_a_check_connects_once(bridge: Bridge, server: ComponentServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        await bridge.make(tasks).connect_once()
        server.refuse = "host-unknown"
        with pytest.raises(ComponentRefusedError):
            await bridge.make(tasks).connect_once()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await bridge.make(tasks).connect_once()

    assert bridge.ups.empty()


async def test_parcels_written_just_before_the_end_are_named_but_not_shown(
    bridge: Bridge, server: ComponentServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with bridge.running() as stream:
            stream.write(message("private words"), [4711])
            await server.next()
            server.fail("not-well-formed")
            assert await bridge.next_up()
            assert list(stream.suspects) == [4711]

    assert "4711" in caplog.text
    assert "not-well-formed" in caplog.text
    assert "private words" not in caplog.text


BLAMING = {"not-well-formed", "policy-violation", "invalid-from"}


@pytest.mark.parametrize(
    "condition", [*sorted(BLAMING), "system-shutdown", "reset", ""]
)
async def test_only_some_ends_are_the_fault_of_what_was_written(
    bridge: Bridge, server: ComponentServer, condition: str
) -> None:
    async with bridge.running() as stream:
        stream.write(message(), [1])
        await server.next()
        if condition:
            server.fail(condition)
        else:
            server.cut()
        assert await bridge.next_up()

        assert list(stream.suspects) == [1]
        assert stream.blames is (condition in BLAMING)


async def test_what_a_server_took_before_it_fell_does_not_count_as_delivered(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running() as stream:
        assert stream.write(message("1"), [1])
        await server.next()
        server.cut()
        assert await bridge.next_up()
        assert Written(bridge.path, "db").earlier == set()
        assert stream.write(message("2"), [2])
        await server.next()

    assert Written(bridge.path, "db").earlier == {2}


async def test_reading_can_be_paused(bridge: Bridge, server: ComponentServer) -> None:
    async with bridge.running() as stream:
        stream.pause()
        server.send(b"<message id='1'/>")
        stream.resume()

        assert (await bridge.next()).get("id") == "1"


async def test_a_dead_stream_is_noticed(
    bridge: Bridge, server: ComponentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component, "WATCH_S", 0.01)
    monkeypatch.setattr("bridge.xmpp.iq.BARRIER_S", 0.1)
    probes = iter(range(1000))
    server.route = lambda _: next(probes) < 20 or server.handshakes > 1

    async with bridge.running():
        assert await bridge.next_up()


async def test_a_stream_lost_while_coming_up_comes_up_again(
    bridge: Bridge, server: ComponentServer
) -> None:
    async def fail_once() -> None:
        bridge.when_up = None
        server.cut()
        await bridge.stream.iq("get", JULIET, ALICE, PING)

    bridge.when_up = fail_once

    async with bridge.running():
        assert server.handshakes == 2

    assert bridge.downs == 2


async def test_a_steady_stream_starts_its_back_off_anew(
    bridge: Bridge, server: ComponentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component, "STEADY_S", -1.0)

    async with bridge.running() as stream:
        server.cut()
        assert await bridge.next_up()
        assert stream._failures == 1


async def test_nothing_that_must_not_leave_is_asked(bridge: Bridge) -> None:
    async with bridge.running() as stream:
        with pytest.raises(ValueError, match="domain"):
            await stream.iq("get", JULIET, "evil@x", Node("x", {}))
