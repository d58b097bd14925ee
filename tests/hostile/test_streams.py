"""What a server, or whoever speaks through it, does to the stream itself."""

import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.xmpp import component
from bridge.xmpp.reader import BadStreamError, Reader
from tests.component_server import HEADER, ComponentServer
from tests.unit.xmpp.streams import Bridge

STREAM = b"<stream xmlns='jabber:component:accept'>"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ComponentServer]:
    monkeypatch.setattr(component, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr("bridge.xmpp.session.PROBE_S", 0.2)
    async with ComponentServer() as server:
        yield server


ENDS = {
    "an error": b"<stream:error><internal-server-error"
    b" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    "an error that is none": b"<stream:error/>",
    "an unknown error": b"<stream:error><x xmlns='y'/></stream:error>",
    "an end": b"</stream:stream>",
    "a document type": b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
    "an entity": b"<message>&bomb;</message>",
    "another stream": HEADER,
    "no XML": b"\x00\xff",
    "a stanza in halves": b"<message></presence>",
}


@pytest.mark.parametrize("name", ENDS)
async def test_e89_whatever_ends_the_stream_it_comes_up_again(
    tmp_path: Path, server: ComponentServer, name: str
) -> None:
    bridge = Bridge(tmp_path, server)
    async with bridge.running():
        server.send(ENDS[name])
        if name == "another stream":  # only an odd stanza, as long as it lasts
            server.cut()

        assert await bridge.next_up()
        server.send(b"<message id='1' from='a@b' to='bridge.example'/>")
        assert (await bridge.next()).get("id") == "1"


async def test_e89_a_server_that_restarts_has_another_id(
    tmp_path: Path, server: ComponentServer
) -> None:
    """E89: the proof is made of the id of the new stream."""
    bridge = Bridge(tmp_path, server)
    async with bridge.running():
        await server.stop()
        await server.start()

        assert await bridge.next_up()

    assert server.handshakes == 2


LAUGHS = "".join(f"<!ENTITY l{n} '&l{n - 1};&l{n - 1};'>" for n in range(1, 40))
BOMBS = {
    "laughs": f"<!DOCTYPE x [<!ENTITY l0 'ha'>{LAUGHS}]><x>&l39;</x>".encode(),
    "an external entity": b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>",
    "depth": b"<a>" * 400_000,
    "width": b"<message>" + b"<a/>" * 300_000,
    "attributes": b"<message " + b" ".join(b"a%d='x'" % n for n in range(200_000)),
    "one attribute": b"<message a='" + b"x" * 9_000_000,
    "text": b"<message>" + b"x" * 9_000_000,
    "a comment": b"<message><!--" + b"x" * 9_000_000,
    "a name": b"<" + b"x" * 9_000_000,
    "namespaces": b"<message>" + b"<a xmlns='urn:x'>" * 300_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_s4_a_bomb_costs_little(name: str) -> None:
    """S4: CVE-2014-2745 and its like; bounded in time and memory."""
    reader = Reader()
    reader.feed(STREAM)
    data = BOMBS[name]
    tracemalloc.start()

    began = time.process_time()
    try:
        for start in range(0, len(data), 65536):
            assert reader.feed(data[start : start + 65536]) == []
    except BadStreamError:
        pass
    took_s = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert took_s < 10  # a tenth of it without the counting of memory
    assert peak < 80_000_000
