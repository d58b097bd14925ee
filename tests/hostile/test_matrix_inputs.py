"""What people of Matrix, or their servers, send: bad inputs by their numbers."""

import json

import pytest

from tests.homeserver import Event
from tests.hostile.stage import HOSTED, ROMEO, Stage, condition
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL

CONTROLS = [chr(n) for n in (*range(9), 0xB, 0xC, *range(0xE, 0x20))]


@pytest.mark.parametrize("char", [*CONTROLS, "\ufffe", "\uffff"])
async def test_e1_a_control_character_is_replaced(stage: Stage, char: str) -> None:
    """E1, E2, S1: the stream would be closed for it."""
    await stage.alice_says(f"a{char}b")

    assert stage.heard() == ["a\ufffdb"]


async def test_e2_what_xml_allows_is_kept(stage: Stage) -> None:
    await stage.alice_says("\U0001fffe\x7f\x85\u2028")

    assert stage.heard() == ["\U0001fffe\x7f\x85\u2028"]


async def test_e3_a_lone_surrogate_harms_nobody(stage: Stage) -> None:
    event = await stage.alice_says("a\ud800b", format="org.matrix.custom.html")
    assert "\\ud800" in json.dumps(event)

    assert stage.heard() == ["a\ufffdb"]
    await stage.goes_on()


@pytest.mark.parametrize("words", ["", "  ", "\n\n", "\u3000"])
async def test_e7_nothing_said_is_dropped(stage: Stage, words: str) -> None:
    await stage.alice_says(words)

    assert stage.heard() == []
    assert stage.seen() == []


@pytest.mark.parametrize("body", [None, 5, [], {}, True, 1.5])
async def test_e7_what_is_no_text_is_refused_in_words(
    stage: Stage, body: object
) -> None:
    await stage.alice_says(body)

    assert stage.heard() == []
    (words,) = stage.seen()
    assert words == "Not delivered: the message is malformed"
    await stage.goes_on()


async def test_e11_no_stanza_is_too_large_for_a_server(stage: Stage) -> None:
    await stage.alice_says("x " * 300_000)

    said = stage.heard()
    assert "".join(said) == "x " * 300_000
    assert max(map(len, said)) < 200_000


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<script>alert(1)</script>a", "a"),
        ("<b onclick='x'>a</b>", "*a*"),
        ("<img src=x onerror=alert(1)>a", "a"),
        ("<a href='javascript:alert(1)'>a</a>", "a"),
        ("<a href='data:text/html,x'>a</a>", "a"),
        ("<a href='JaVaScRiPt:x'>a</a>", "a"),
        ("<a href='vbscript:x'>a</a>", "a"),
        ("<img src='http://tracker.example/x.png' alt='cat'>", "cat"),
        ("<style>a{}</style>a", "a"),
        ("<iframe src='x'></iframe>a", "a"),
        ("<mx-reply>eve said</mx-reply>a", "a"),
    ],
)
async def test_e13_active_html_says_nothing(
    stage: Stage, html: str, words: str
) -> None:
    """E13, E14, S3."""
    await stage.alice_says(
        "fallback", format="org.matrix.custom.html", formatted_body=html
    )

    assert stage.heard() == [words]


async def test_e17_an_unknown_format_is_left_aside(stage: Stage) -> None:
    await stage.alice_says("plain", format="org.example.tex", formatted_body="\\x")

    assert stage.heard() == ["plain"]


@pytest.mark.parametrize(
    "relation",
    [
        "m.replace",
        5,
        [],
        {"rel_type": "org.example.unknown", "event_id": "$1"},
        {"rel_type": "m.replace", "event_id": 5},
        {"rel_type": "m.replace"},
        {"rel_type": ["m.replace"], "event_id": "$1"},
        {"rel_type": "m.thread", "event_id": "$'/><message to='x'/>"},
        {"m.in_reply_to": "$1"},
        {"m.in_reply_to": {"event_id": ["$1"]}},
        {"m.in_reply_to": {"event_id": "$'/><x/>"}},
        {"event_id": "$'/><replace id='x"},
    ],
)
async def test_e39_a_malformed_relation_is_none(stage: Stage, relation: object) -> None:
    """E39, S2: the words cross, and nothing of the relation is XML."""
    await stage.alice_says("the words", **{"m.relates_to": relation})

    (said,) = stage.written()
    assert said[0].tag.endswith("}body")
    assert said.findtext("{jabber:component:accept}body") == "the words"
    await stage.goes_on()


@pytest.mark.parametrize("inner", ["x", None, 5, [], {"body": 5}])
async def test_e40_new_content_that_is_none_is_no_second_message(
    stage: Stage, inner: object
) -> None:
    """E40: until edits cross, an edit of whatever form is refused, not said twice."""
    relation = {"rel_type": "m.replace", "event_id": "$1"}
    await stage.alice_says(
        "* outer", **{"m.relates_to": relation, "m.new_content": inner}
    )

    assert "outer" not in "".join(stage.heard())
    await stage.goes_on()


@pytest.mark.parametrize(
    "msgtype",
    ["m.location", "m.call.invite", "org.example.poll", "m.bad_encrypted", "x" * 5000],
)
async def test_e47_what_cannot_be_shown_is_said_so_once(
    stage: Stage, msgtype: str
) -> None:
    for _ in range(3):
        await stage.alice_says("a thing", msgtype=msgtype)

    assert stage.heard() == []
    (words,) = stage.seen()
    assert "cannot carry this kind of message" in words
    await stage.goes_on()


BROKEN: dict[str, str] = {
    "a list": "[]",
    "a string": '"x"',
    "null": "null",
    "NaN": '{"msgtype":"m.text","body":"b","n":NaN}',
    "a long number": '{"msgtype":"m.text","body":"b","n":' + "9" * 5000 + "}",
    "depth": '{"msgtype":"m.text","body":"b","n":' + "[" * 99_000 + "]" * 99_000 + "}",
    "keys twice": '{"msgtype":"m.text","body":"x","body":"b"}',
    "half a pair": '{"msgtype":"m.text","body":"b\\ud800"}',
}


@pytest.mark.parametrize("name", BROKEN)
async def test_e60_content_that_is_hardly_json_stops_nobody(
    stage: Stage, name: str
) -> None:
    """E60, S5: what comes with it in a transaction is carried."""
    about = f'"room_id":"{HALL}","sender":"{ALICE}","type":"m.room.message"'
    bad = f'{{"event_id":"$bad",{about},"content":{BROKEN[name]}}}'
    good = f'{{"event_id":"$good",{about},"content":{{"msgtype":"m.text","body":"g"}}}}'

    await stage.pushes(f'{{"events":[{bad},{good}]}}'.encode())

    assert stage.heard()[-1] == "g"
    await stage.goes_on()


@pytest.mark.parametrize(
    "change",
    [
        {"sender": None},
        {"sender": 5},
        {"room_id": None},
        {"room_id": "!nowhere:hs"},
        {"event_id": ""},
        {"event_id": "$" + "x" * 300},
        {"type": []},
        {"sender": BOT},
        {"sender": GHOST},
        {"sender": "@_xmpp_anybody:hs"},
    ],
)
async def test_e73_an_event_that_cannot_be_is_skipped(
    stage: Stage, change: Event
) -> None:
    """E73, S13: nothing of ours comes back as news."""
    event = stage.server.say(HALL, ALICE, "hidden")

    await stage.happens({**event, **change})

    assert stage.heard() == []
    await stage.goes_on()


@pytest.mark.parametrize("at", [-1, 0, 2**63, 2**200, "soon", None, [], 1.5])
async def test_e73_a_time_that_cannot_be_is_now(stage: Stage, at: object) -> None:
    """E73, E85, E31: order is that of arrival."""
    event = stage.server.say(HALL, ALICE, "when?")

    await stage.happens({**event, "origin_server_ts": at})
    await stage.alice_says("then")

    assert stage.heard() == ["when?", "then"]


@pytest.mark.parametrize("key", ["", "alice", "@", "x" * 9000, "@a:b@c", 5, None])
async def test_e74_a_member_who_is_none_changes_nothing(
    stage: Stage, key: object
) -> None:
    content = {"membership": "join", "displayname": {"a": 1}}
    event = stage.server.add(HALL, ALICE, "m.room.member", content)

    await stage.happens({**event, "state_key": key})

    await stage.goes_on()


async def test_e74_a_name_without_end_is_cut(stage: Stage) -> None:
    content = {"membership": "join", "displayname": "Ali\u202ece\n" * 20_000}
    event = stage.server.add(HALL, "@long:hs", "m.room.member", content)

    await stage.happens({**event, "state_key": "@long:hs"})

    (came,) = stage.written("presence")
    nick = (came.get("from") or "").partition("/")[2]
    assert 0 < len(nick) <= 64
    assert nick.isprintable()
    await stage.goes_on()


@pytest.mark.parametrize(
    "levels",
    [
        {"users": {ALICE: "100"}, "users_default": 1000},
        {"users": [ALICE], "events": "x"},
        {"users": {ALICE: 2**70}},
        {"users": {ALICE: None}, "ban": []},
        [],
        "x",
    ],
)
async def test_e75_odd_power_levels_stop_nobody(stage: Stage, levels: Event) -> None:
    stage.server.add(HALL, ALICE, "m.room.power_levels", levels, state_key="")

    await stage.alice_says("!xmpp status")

    assert "On XMPP this room is" in stage.seen()[-1]
    await stage.goes_on()


@pytest.mark.parametrize("topic", ["", "x" * 100_000, "a\u0000b", "\u202egnp"])
async def test_e80_a_topic_of_any_kind_is_shown(stage: Stage, topic: str) -> None:
    event = stage.server.add(HALL, ALICE, "m.room.topic", {"topic": topic})

    await stage.happens({**event, "state_key": ""})

    (said,) = stage.written()
    assert len(said.findtext("{jabber:component:accept}subject") or "") <= 100_000
    await stage.goes_on()


@pytest.mark.parametrize(
    "words",
    [
        "!xmpp bridge tea@muc.example\n!xmpp unbridge",
        "!xmpp unbridge\nplease",
        "!xmpp bridge " + "x" * 10_000,
        "!xmpp bridge 'tea@muc.example'; drop table portal",
        "!xmpp bridge tea@muc.example\x00",
        "!xmpp bridge tea@muc.example extra",
        "!xmpp accept",
        '!xmpp bridge "',
    ],
)
async def test_e83_a_command_is_one_line_and_no_more(stage: Stage, words: str) -> None:
    """E83, S2, S32."""
    before = list(stage.directory)

    await stage.alice_says(words)

    assert list(stage.directory) == before
    assert stage.line.asked == []
    assert stage.seen()
    await stage.goes_on()


async def test_e83_a_command_by_edit_or_once_more_is_none(stage: Stage) -> None:
    event = await stage.alice_says("!xmpp status")
    relation = {"rel_type": "m.replace", "event_id": event["event_id"]}

    await stage.happens(event, event)
    await stage.alice_says("!xmpp help", **{"m.relates_to": relation})

    assert sum("On XMPP this room is" in words for words in stage.seen()) == 1
    assert not any("undo the link" in words for words in stage.seen())


async def test_e18_words_that_look_like_stanzas_are_words(stage: Stage) -> None:
    """E16, S2: whatever is in a name, a topic or a message, it is one stanza."""
    injected = f"x'/></body></message><message to='{ROMEO}' from='{HOSTED}'><body>"
    content = {"membership": "join", "displayname": injected}
    name = stage.server.add(HALL, ALICE, "m.room.member", content, state_key=ALICE)
    topic = stage.server.add(HALL, ALICE, "m.room.topic", {"topic": injected})

    await stage.happens(name, {**topic, "state_key": ""})
    await stage.alice_says(injected, format="x", formatted_body=injected)
    await stage.happens({**stage.server.say(HALL, ALICE, "id"), "event_id": "$'/><x"})

    said = stage.written()
    bodies = [one.findtext("{jabber:component:accept}body") for one in said]
    assert [body for body in bodies if body] == [injected, "id"]


async def test_a_refusal_names_its_condition(stage: Stage) -> None:
    """E26: an error is told to its sender alone."""
    await stage.comes(
        f"<message type='groupchat' from='eve@evil.example/x' to='{HOSTED}' id='1'>"
        "<body>hi</body></message>"
    )

    (answer,) = stage.written(to="eve@evil.example/x")
    assert condition(answer) == "not-acceptable"
    assert stage.seen() == []
