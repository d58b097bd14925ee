"""Every decoder reads everything: no fault but its own, nothing outside its grammar.

The same targets, guided by what they reach and without end: ``python -m tests.fuzz``.
"""

import time

import pytest
from hypothesis import given, settings, strategies as st

from bridge.model.text import RichText
from tests.fuzz.targets import TARGETS

MEGABYTE = 1_000_000
SECONDS_MAX = 2.0  # of a machine that has other things to do; alone, a third of it

# Words of every grammar: what comes of them is more often nearly right than noise.
XML = (
    "<message from='a@b/c' to='d@e' type='groupchat' id='1'>|</message>|<presence>"
    "|</presence>|<iq type='get'>|</iq>|<body>|</body>|<body xml:lang='de'>|&lt;|&#0;"
    "|&#xD800;|&amp;|<![CDATA[|]]>|<!-- -->|<?x?>|<!DOCTYPE a>|&a;|'|>|/>"
    "|<html xmlns='http://jabber.org/protocol/xhtml-im'>|</html>"
    "|<body xmlns='http://www.w3.org/1999/xhtml'>|<p>|</p>|<a href='javascript:x'>"
    "|</a>"
    "|<replace xmlns='urn:xmpp:message-correct:0' id='1'/>"
    "|<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z' from='a@b'/>"
    "|<delay xmlns='urn:xmpp:delay' stamp='9999-99-99'/>"
    "|<stanza-id xmlns='urn:xmpp:sid:0' by='tea@muc.example' id='x'/>"
    "|<occupant-id xmlns='urn:xmpp:occupant-id:0' id=''/>"
    "|<hops xmlns='xmpp-matrix-bridge:hops:0' count='99999999999'/>"
    "|<x xmlns='http://jabber.org/protocol/muc#user'><item/><status code='x'/></x>"
    "|<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='-1' since='x'/>"
    "</x>"
    "|<x xmlns='jabber:x:data'><field var='a'><value>|</value></field></x>"
    "|<query xmlns='http://jabber.org/protocol/disco#info'>|</query>"
    "|<result xmlns='urn:xmpp:mam:2' id='1'>|</result>"
    "|<forwarded xmlns='urn:xmpp:forward:0'>|</forwarded>"
    "|<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)
JSON = (
    '{"events":[|]}|{"event_id":"$1","room_id":"!r:hs","sender":"@a:hs","type":'
    '"m.room.message","content":|"m.room.member"|"m.room.power_levels"|}|{|[|]|,|:'
    '|{"msgtype":"m.text","body":"x"|"format":"org.matrix.custom.html"|"formatted_body"'
    '|"m.relates_to":{"rel_type":"m.replace","event_id":"$1"}|"\\ud800"|"\\u0000"|NaN'
    '|1e999|-0|99999999999999999999|null|true|"membership":"join"|"displayname":"x"'
    '|"users":{"@a:hs":"100"}|"org.xmpp-matrix-bridge.hops":|5|"'
)
HTML = (
    "<b>|</b>|<i|<p>|</p>|<blockquote>|<pre><code>|</code></pre>|<ul><li>|</li></ul>"
    "|<a href=\"https://x\">|<a href='javascript:x'>|</a>|<img alt='x' src=y>|<br>"
    "|<mx-reply>|</mx-reply>|<script>|</script>|<table><tr><td>|&lt;|&#9999999;|&nbsp"
    "|<!--|-->|<|>|\"|'|&|\u202e|\ufffe|\x00|\r\n|a"
)
SIGNS = "*|_|~|`|```|>|> |\n|a|b c|\u00e9|\u200b|\\|/me |@|#|:|.|=|\\20|_xmpp_|%|//"
WORDS = {
    "stanza": XML,
    "event": JSON,
    "transaction": JSON,
    "json": JSON,
    "html": HTML,
    "styling": SIGNS,
    "names": SIGNS,
    "packed": "D|M|H|\x94|\xa1|{|}|[",
    "sealed": "a|b",
    "picture": "\x00|\x01|\x02|IHDR|IDAT|\x08|a",
}


def soups(name: str) -> st.SearchStrategy[bytes]:
    words = st.sampled_from(WORDS[name].split("|"))
    return st.lists(words | st.text(max_size=4), max_size=25).map(
        lambda parts: "".join(parts).encode(errors="replace")
    )


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read(name: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(soups(name) | st.binary(max_size=200))
    def reads(data: bytes) -> None:
        TARGETS[name](data)

    reads()


PIECES = {
    "stanza": ["<message><body>a</body></message>", "<a>"],
    "event": ["[", '"\\ud800",'],
    "transaction": ['{"events":[', "{},"],
    "json": ["[", '"', "9", '{"events":[]}'],
    "html": ["<div><p>", '<a "'],
    "styling": ["*a* ", "_*~`"],
    "names": ["\\20", "=40", "\u0301"],
    "packed": ["\x91"],
    "sealed": ["x"],
    "picture": ["\x00\x01", "a"],
}
LARGE = [(name, piece) for name, pieces in PIECES.items() for piece in pieces]


@pytest.mark.parametrize(("name", "piece"), LARGE)
def test_a_megabyte_of_anything_takes_a_second_or_two(name: str, piece: str) -> None:
    """S3, S4, S5, E12: time grows with what comes, and not with its square."""
    # A larger stanza is thrown away unread.
    size = MEGABYTE // 2 if name == "stanza" else MEGABYTE
    data = (piece * (size // len(piece))).encode()

    began = time.process_time()
    TARGETS[name](data)

    assert time.process_time() - began < SECONDS_MAX


def test_a_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bridge.matrix.codec.text.encode", lambda _: ("x", "<script>x</script>")
    )

    with pytest.raises(AssertionError):
        TARGETS["html"](b"<b>x</b>")
    assert RichText("x").plain == "x"
