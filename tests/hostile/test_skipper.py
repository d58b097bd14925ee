"""With the skipper or without, in whatever pieces: the same stanzas are read."""

import itertools
from xml.etree.ElementTree import Element

from hypothesis import example, given, settings, strategies as st

from bridge.xmpp.reader import Reader
from bridge.xmpp.skipper import Skipper

HEADER = b"<stream xmlns='jabber:component:accept'>"
WANTED = b"bot@b"
JIDS = ["bot@b", "p1@b", "p2@b/x", "p&amp;3@b", "p1@b/<x"[:-2], "bot@b'"[:-1], ""]

ATTRIBUTES = st.sampled_from(
    [
        "from='r@m/n' to='{to}' type='groupchat' id='1'",
        "to='{to}' from='r@m/n' type='groupchat'",
        "type='groupchat' id=' to=' to='{to}'",
        'type="groupchat" to="{to}" id="x to=\'p1@b\'"',
        "type='groupchat' id='a>b' to='{to}'",
        "to='{to}' type='chat'",
        "xml:lang='en' type='groupchat' to = '{to}'",
        "type='groupchat'",
    ]
)
CHILDREN = st.sampled_from(
    [
        "",
        "<body>hi</body>",
        "<body>ho</body>",
        "<body>&lt;/message&gt; to='p1@b'</body>",
        "<x><message to='p1@b' type='groupchat'><body>in</body></message></x>",
        "<body>a</body><message  to='p2@b'/>",
        "<body><![CDATA[</message>]]></body>",
        "<!-- </message> -->",
    ]
)
BETWEEN = st.sampled_from(
    [
        *[""] * 12,
        " ",
        "\n",
        "<presence from='r@m/n' to='p1@b'/>",
        "<iq type='get' id='1'/>",
        "<message to='p1@b' type='groupchat'/>",
        "<message to='bot@b' type='groupchat'/>",
        "<!-- <message > -->",
        "<?pi <message to='p1@b' ?>",
    ]
)


@st.composite
def runs(draw: st.DrawFn) -> str:
    attributes, children = draw(ATTRIBUTES), draw(CHILDREN)
    jids = draw(st.lists(st.sampled_from(JIDS), min_size=1, max_size=6))
    between = draw(BETWEEN)
    return between.join(
        "<message " + attributes.replace("{to}", jid) + ">" + children + "</message>"
        for jid in jids
    )


def shown(stanzas: list[Element]) -> list[tuple[object, ...]]:
    return [
        (one.tag, tuple(one.attrib.items()), one.text, tuple(shown(list(one))))
        for one in stanzas
    ]


def wanted(to: bytes) -> bool:
    return to in (WANTED, b"")


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(runs(), BETWEEN), max_size=6).map("".join),
    st.lists(st.integers(0, 5000), max_size=12),
)
@example("<message type='groupchat' to='p1@b'>x</message>" * 3, [47, 60, 100])
def test_skipping_changes_nothing(text: str, cuts: list[int]) -> None:
    data = text.encode()
    plain = Reader()
    plain.feed(HEADER)
    expected = [
        one
        for one in plain.feed(data)
        if one.get("type") != "groupchat"
        or not one.tag.endswith("}message")
        or wanted(one.get("to", "").encode())
    ]
    reader = Reader()
    skipper = Skipper(reader, wanted)
    skipper.feed(HEADER)

    found = [one for piece in pieces(data, cuts) for one in skipper.feed(piece)]

    assert shown(found) == shown(expected)
    # a last whole stanza is never held back
    assert reader.depth == 1


@settings(max_examples=100, deadline=None)
@given(runs(), st.integers(1, 40))
def test_skipping_changes_nothing_in_small_pieces(text: str, size: int) -> None:
    data = (text * 3).encode()
    plain = Reader()
    plain.feed(HEADER)
    expected = [
        one
        for one in plain.feed(data)
        if one.get("type") != "groupchat" or wanted(one.get("to", "").encode())
    ]
    skipper = Skipper(Reader(), wanted)
    skipper.feed(HEADER)

    found = [
        one
        for start in range(0, len(data), size)
        for one in skipper.feed(data[start : start + size])
    ]

    assert shown(found) == shown(expected)
