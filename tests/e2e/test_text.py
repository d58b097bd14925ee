"""What is written on one network can be read on the other."""

from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.matrix_people import Json, MatrixPerson
from deploy.lab.stanzas import tag
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company

HTML = "org.matrix.custom.html"
XHTML_IM = "http://jabber.org/protocol/xhtml-im"
XHTML = "http://www.w3.org/1999/xhtml"


class Chat:
    """A direct chat of two."""

    def __init__(
        self, alice: MatrixPerson, room: str, juliet: XmppPerson, world: World
    ) -> None:
        self.alice = alice
        self.room = room
        self.juliet = juliet
        self.puppet = world.puppet(alice)
        self.ghost = world.ghost(juliet)


@pytest.fixture
async def chat(world: World, company: Company) -> Chat:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    room = await alice.starts_chat(world.ghost(juliet))
    await alice.sees_member(room, world.ghost(juliet))
    chat = Chat(alice, room, juliet, world)
    await alice.says(room, "hello")
    await juliet.hears("hello", chat.puppet, chat.puppet)
    return chat


async def test_formatting_of_matrix_is_styling_on_xmpp(chat: Chat) -> None:
    """XEP-0393."""
    cases = {
        "<b>bold</b> and <em>soft</em>": "*bold* and _soft_",
        "<del>gone</del>": "~gone~",
        "<code>x = 1</code>": "`x = 1`",
        "two<br>lines": "two\nlines",
        "<pre><code>def f():\n    pass\n</code></pre>": "```\ndef f():\n    pass\n```",
        "<blockquote>quoted</blockquote>answer": "> quoted\nanswer",
        '<a href="https://example.org/">a link</a>': "a link <https://example.org/>",
        "1 &lt; 2 &amp;&amp; 3 &gt; 2": "1 < 2 && 3 > 2",
    }

    for html in cases:
        body = f"fallback of {html}"
        await chat.alice.says(chat.room, body, format=HTML, formatted_body=html)

    heard = [(await chat.juliet.hears_next(chat.puppet)).text for _ in cases]
    expected = list(cases.values())
    assert [h.strip().replace("\n\n", "\n") for h in heard] == expected


async def test_styling_of_xmpp_is_formatting_on_matrix(chat: Chat) -> None:
    cases = {
        "*bold* and _soft_": ("<strong>bold</strong>", "<em>soft</em>"),
        "~gone~": ("<del>gone</del>",),
        "`x = 1`": ("<code>x = 1</code>",),
        "```\ndef f():\n    pass\n```": ("<pre><code>def f():\n    pass",),
        "> quoted\nanswer": ("<blockquote>", "quoted", "answer"),
    }

    for text in cases:
        await chat.juliet.says(chat.puppet, text)

    for parts in cases.values():
        heard = await chat.alice.hears_next(chat.room)
        html = _content(heard.raw).get("formatted_body", "")
        assert [part for part in parts if part not in html] == []


async def test_plain_text_stays_plain(chat: Chat) -> None:
    texts = [
        "1 < 2 && 3 > 2 \"quoted\" 'too'",
        "<script>alert(1)</script>",
        "a\nb\n\nc",
        "snake_case and 2*3*4",
        "emoji 🦊👩\u200d👩\u200d👧 and umlauts äöü ∀x",
        "https://example.org/?a=b&c=d#e",
    ]

    for text in texts:
        await chat.juliet.says(chat.puppet, text)
        await chat.alice.says(chat.room, text)

    for text in texts:
        heard = await chat.alice.hears(text, chat.ghost, chat.room)
        assert "<script>" not in _content(heard.raw).get("formatted_body", "")
        await chat.juliet.hears(text, chat.puppet, chat.puppet)


async def test_actions_cross(chat: Chat) -> None:
    """XEP-0245; m.emote."""
    await chat.juliet.says(chat.puppet, "/me looks around")
    heard = await chat.alice.hears("looks around", chat.ghost, chat.room)
    await chat.alice.says(chat.room, "waves", msgtype="m.emote")

    assert _content(heard.raw)["msgtype"] == "m.emote"
    await chat.juliet.hears("/me waves", chat.puppet, chat.puppet)


async def test_notices_cross(chat: Chat) -> None:
    await chat.alice.says(chat.room, "beep", msgtype="m.notice")

    await chat.juliet.hears("beep", chat.puppet, chat.puppet)


async def test_rich_text_of_old_clients_is_read_and_never_passed_on(
    chat: Chat,
) -> None:
    """XEP-0071."""
    message = Element("message", {"type": "chat", "to": chat.puppet})
    SubElement(message, "body").text = "bold"
    body = SubElement(
        SubElement(message, "html", {"xmlns": XHTML_IM}), "body", {"xmlns": XHTML}
    )
    SubElement(body, "strong", {"style": "color:red", "onclick": "x()"}).text = "bold"
    SubElement(body, "script").text = "alert(1)"

    await chat.juliet.send(message)
    heard = await chat.alice.hears_next(chat.room)

    html = _content(heard.raw).get("formatted_body", "")
    assert "bold" in heard.text
    assert "script" not in html
    assert "onclick" not in html


async def test_sixty_kilobytes_cross(chat: Chat) -> None:
    text = "".join(f"{number:06} abcdefgh\n" for number in range(3750)).strip()

    await chat.juliet.says(chat.puppet, text)
    await chat.alice.says(chat.room, text)

    await chat.juliet.hears(text, chat.puppet, chat.puppet)
    due, got = text.split(), list[str]()
    while len(got) < len(due):
        got += (await chat.alice.hears_next(chat.room)).text.split()
    assert got == due


async def test_what_is_too_long_is_split_and_nothing_is_lost(chat: Chat) -> None:
    words = [f"word{number}" for number in range(16_000)]

    await chat.juliet.says(chat.puppet, " ".join(words))
    await chat.juliet.says(chat.puppet, "the end")

    got: list[str] = []
    while (heard := await chat.alice.hears_next(chat.room)).text != "the end":
        got += heard.text.split()
    assert got == words


async def test_a_reply_shows_no_matrix_ids(chat: Chat) -> None:
    await chat.juliet.says(chat.puppet, "a question")
    asked = await chat.alice.hears("a question", chat.ghost, chat.room)
    relation = {"m.in_reply_to": {"event_id": asked.id}}
    fallback = f"> <{chat.ghost}> a question\n\nan answer"
    html = (
        f'<mx-reply><blockquote><a href="https://matrix.to/#/{chat.room}">In reply'
        f" to</a> {chat.ghost}<br>a question</blockquote></mx-reply>an answer"
    )
    content = {"format": HTML, "formatted_body": html, "m.relates_to": relation}

    await chat.alice.says(chat.room, fallback, **content)
    heard = await chat.juliet.hears_next(chat.puppet)

    assert heard.text.endswith("an answer")
    assert "_xmpp_" not in heard.text
    assert "matrix.to" not in heard.text


async def test_a_reply_without_fallback_crosses_too(chat: Chat) -> None:
    await chat.juliet.says(chat.puppet, "a question")
    asked = await chat.alice.hears("a question", chat.ghost, chat.room)
    relation = {"m.in_reply_to": {"event_id": asked.id}}

    await chat.alice.says(chat.room, "an answer", **{"m.relates_to": relation})
    heard = await chat.juliet.hears_next(chat.puppet)

    assert heard.text.endswith("an answer")


async def test_characters_that_xml_forbids_do_no_harm(chat: Chat) -> None:
    """One of them would end the whole stream."""
    await chat.alice.says(chat.room, "bell\u0007 null\u0000 \ufffe end")
    await chat.alice.says(chat.room, "after it")

    heard = await chat.juliet.hears_next(chat.puppet)
    assert heard.text.startswith("bell")
    assert heard.text.endswith("end")
    await chat.juliet.hears("after it", chat.puppet, chat.puppet)


async def test_what_cannot_cross_yet_is_said_so(chat: Chat) -> None:
    content: Json = {
        "msgtype": "m.image",
        "body": "cat.png",
        "url": "mxc://hs.localhost/abc",
    }

    await chat.alice.sends(chat.room, "m.room.message", content)
    await chat.alice.says(chat.room, "did you see it?")

    told = await chat.alice.hears_next(chat.room)
    assert _content(told.raw)["msgtype"] == "m.notice"
    await chat.juliet.hears("did you see it?", chat.puppet, chat.puppet)


async def test_the_stanza_is_the_one_that_servers_keep(chat: Chat) -> None:
    """XEP-0334: <store/>; the id is the event's."""
    event = await chat.alice.says(chat.room, "keep me")

    heard = await chat.juliet.hears("keep me", chat.puppet, chat.puppet)

    assert isinstance(heard.raw, Element)
    assert heard.id == event
    assert heard.raw.find(tag("store", "urn:xmpp:hints")) is not None


def _content(event: object) -> Json:
    assert isinstance(event, dict)
    content: Json = event["content"]
    return content
