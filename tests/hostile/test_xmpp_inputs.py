"""What people of XMPP, or their servers, send: bad inputs by their numbers."""

from datetime import UTC, datetime, timedelta

import pytest

from bridge.xmpp.codec.names import BARE_BYTES_MAX
from tests.hostile.stage import HOSTED, ROMEO, Stage, X, condition
from tests.unit.matrix.world import ALICE, HALL
from tests.unit.xmpp.elsewhere import DOMAIN, MUC, name_of

PUPPET = f"alice_hs@{DOMAIN}"
EVE = "eve@evil.example/x"
BODY = "<body>hi</body>"


@pytest.mark.parametrize(
    "text",
    [
        f"<message to='{PUPPET}'>{BODY}</message>",
        f"<message from='{ROMEO}'>{BODY}</message>",
        f"<message from='' to='{PUPPET}'>{BODY}</message>",
        f"<message from='a@b@c' to='{PUPPET}'>{BODY}</message>",
        f"<message from='{ROMEO}' to='@{DOMAIN}'>{BODY}</message>",
        f"<message from='{PUPPET}/x' to='{PUPPET}'>{BODY}</message>",
        f"<message from='{DOMAIN}' to='{PUPPET}'>{BODY}</message>",
        f"<message from='{PUPPET}' to='{HOSTED}' type='groupchat'>{BODY}</message>",
        f"<presence to='{HOSTED}/x'>{X}</presence>",
        f"<iq type='get' id='1' to='{PUPPET}'><ping xmlns='urn:xmpp:ping'/></iq>",
    ],
)
async def test_e25_a_stanza_from_nobody_or_from_us_is_ignored(
    stage: Stage, text: str
) -> None:
    before = stage.xmpp.ignored

    await stage.comes(text)

    assert stage.xmpp.ignored == before + 1
    assert stage.line.written[stage._read :] == []
    assert stage.seen() == []
    await stage.goes_on()


async def test_e25_a_stanza_without_an_id_is_carried(stage: Stage) -> None:
    await stage.romeo_says("no id")
    await stage.romeo_says("no id")

    assert stage.seen() == ["no id", "no id"]


@pytest.mark.parametrize("to", [HOSTED, f"{HOSTED}/Alice", PUPPET, DOMAIN, MUC])
@pytest.mark.parametrize("name", ["$1", "", "nobody knows it"])
@pytest.mark.parametrize("kind", ["message", "presence", "iq"])
async def test_e26_an_error_is_never_answered(
    stage: Stage, to: str, name: str, kind: str
) -> None:
    error = (
        f"<{kind} type='error' from='{EVE}' to='{to}' id='{name}'>{BODY}"
        "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        f"</error></{kind}>"
    )

    for _ in range(3):
        await stage.comes(error)

    assert stage.line.written[stage._read :] == []
    assert stage.seen() == []
    await stage.goes_on()


async def test_e27_what_nobody_serves_is_refused_once(stage: Stage) -> None:
    """E27, E88: in-band registration, ad-hoc commands, cards, forms."""
    for number, query in enumerate(
        (
            "<query xmlns='jabber:iq:register'/>",
            "<command xmlns='http://jabber.org/protocol/commands' node='x'/>",
            "<vCard xmlns='vcard-temp'><N>" + "x" * 100_000 + "</N></vCard>",
            "<query xmlns='urn:example:unknown'/>",
            "<a/><b/>",
            "",
        )
    ):
        # Cards are served, but nobody writes them.
        kinds = ("set",) if "vCard" in query else ("get", "set")
        for kind in kinds:
            await stage.comes(
                f"<iq type='{kind}' from='{EVE}' to='{PUPPET}' id='{number}{kind}'>"
                f"{query}</iq>"
            )
            (answer,) = stage.written("iq", EVE)
            assert condition(answer) in (
                "service-unavailable",
                "bad-request",
                "feature-not-implemented",
                "not-allowed",
                "item-not-found",  # a command that is none of ours
            )
    await stage.goes_on()


async def test_e27_groupchat_to_no_room_goes_nowhere(stage: Stage) -> None:
    for to in (PUPPET, f"bridge@{DOMAIN}"):
        await stage.comes(
            f"<message type='groupchat' from='{EVE}' to='{to}'>{BODY}</message>"
        )

    assert stage.seen() == []
    await stage.goes_on()


async def test_e28_the_same_id_for_other_words_is_another_message(
    stage: Stage,
) -> None:
    """E28, S9: clients, and whoever wants to silence somebody, use ids again."""
    await stage.romeo_says("first", "same")
    await stage.romeo_says("second", "same")
    await stage.comes(
        f"<presence from='{EVE}' to='{HOSTED}/Eve'>{X}</presence>",
        f"<message type='groupchat' from='{EVE}' to='{HOSTED}' id='same'>"
        "<body>first</body></message>",
    )

    assert stage.seen() == ["first", "second", "first"]


async def test_e29_the_same_message_twice_is_said_once(stage: Stage) -> None:
    await stage.romeo_says("once", "same")
    await stage.romeo_says("once", "same")

    assert stage.seen() == ["once"]
    await stage.goes_on()


FORGED = (
    f"<stanza-id xmlns='urn:xmpp:sid:0' by='{HOSTED}' id='forged'/>"
    "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>"
    f"<delay xmlns='urn:xmpp:delay' from='{HOSTED}' stamp='1970-01-01T00:00:00Z'/>"
)


async def test_e30_what_only_the_room_may_say_is_taken_away(stage: Stage) -> None:
    """E30, E31, S9: ids by the room, occupants' ids, times by the room."""
    await stage.romeo_says("true", "one", FORGED)
    await stage.romeo_says("another", "two", FORGED)

    said = [s for s in stage.written() if s.get("type") == "groupchat"]
    assert stage.seen() == ["true", "another"]
    for one in said:
        ids = [child.get("id") for child in one if "id" in child.tag]
        assert "forged" not in ids
        assert one.find("{urn:xmpp:delay}delay") is None


@pytest.mark.parametrize("days", [-20_000, 400_000, 1, None])
async def test_e31_a_time_that_cannot_be_orders_nothing(
    stage: Stage, days: int | None
) -> None:
    """E31, E85, S41."""
    now = datetime.now(UTC)
    stamp = "soon" if days is None else (now + timedelta(days=days)).isoformat()
    delay = f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"

    await stage.romeo_says("first", "1", delay)
    await stage.romeo_says("second", "2")

    assert stage.seen() == ["first", "second"]


INNER = f"<message xmlns='jabber:client' from='{ROMEO}' to='{PUPPET}'>{BODY}</message>"
FORWARDED = f"<forwarded xmlns='urn:xmpp:forward:0'>{INNER}</forwarded>"


@pytest.mark.parametrize(
    "inside",
    [
        f"<received xmlns='urn:xmpp:carbons:2'>{FORWARDED}</received>",
        f"<sent xmlns='urn:xmpp:carbons:2'>{FORWARDED}</sent>",
        f"<result xmlns='urn:xmpp:mam:2' queryid='1' id='1'>{FORWARDED}</result>",
        f"<privilege xmlns='urn:xmpp:privilege:2'>{FORWARDED}</privilege>",
        FORWARDED,
        f"{BODY}<received xmlns='urn:xmpp:carbons:2'>{FORWARDED}</received>",
        f"{BODY}{FORWARDED}",
    ],
)
async def test_e32_somebody_elses_words_are_not_believed(
    stage: Stage, inside: str
) -> None:
    """E32, S8: CVE-2017-5589 and its like."""
    for to in (PUPPET, HOSTED, f"bridge@{DOMAIN}/listener"):
        for kind in ("chat", "groupchat", "normal"):
            await stage.comes(
                f"<message type='{kind}' from='{EVE}' to='{to}'>{inside}</message>"
            )

    assert len(list(stage.directory)) == 1
    assert stage.seen() == []
    await stage.goes_on()


async def test_e33_a_private_message_in_a_room_reaches_nobody_else(
    stage: Stage,
) -> None:
    """E33, S11: until they cross, each is refused to its sender alone."""
    await stage.comes(
        f"<message type='chat' from='{ROMEO}' to='{HOSTED}/Alice' id='1'>{BODY}"
        "<x xmlns='http://jabber.org/protocol/muc#user'/></message>",
        f"<message type='chat' from='{MUC}/Hatter' to='{PUPPET}' id='2'>{BODY}"
        "<x xmlns='http://jabber.org/protocol/muc#user'/></message>",
    )

    (first,) = stage.written()
    assert condition(first) == "feature-not-implemented"
    assert stage.seen() == []
    assert len(list(stage.directory)) == 1
    await stage.goes_on()


async def test_e82_a_storm_of_chat_states_fills_no_inbox(stage: Stage) -> None:
    seq = stage.store.disk.number
    states = [
        f"<message type='groupchat' from='{ROMEO}' to='{HOSTED}'>"
        f"<{state} xmlns='http://jabber.org/protocol/chatstates'/></message>"
        for state in ("composing", "paused")
    ]

    for _ in range(500):
        await stage.comes(*states)

    assert len(stage.written()) < 300
    assert stage.store.disk.number == seq
    assert stage.seen() == []
    await stage.goes_on()


@pytest.mark.parametrize(
    "inside",
    [
        "<body xml:lang='de'>nein</body><body>hi</body>",
        "<body>hi</body><body>ho</body>",
        "<body>hi</body><must xmlns='urn:example' required='true'/>",
        "<body>h<b>i</b></body>",
        "<subject>a</subject><body>hi</body><thread>t</thread>",
        "<x/><y xmlns=''/><body>hi</body>",
    ],
)
async def test_e86_the_best_body_counts(stage: Stage, inside: str) -> None:
    await stage.comes(
        f"<message type='groupchat' from='{ROMEO}' to='{HOSTED}' id='1'>{inside}"
        "</message>"
    )

    assert stage.seen() == ["hi"]


async def test_e87_presences_that_make_no_sense_are_ignored(stage: Stage) -> None:
    for kind in ("", "unavailable", "probe", "subscribe", "error", "nonsense"):
        about = f"type='{kind}'" if kind else ""
        for sender in ("room@evil.example", EVE, "evil.example"):
            for to in (HOSTED, DOMAIN, f"bridge@{DOMAIN}/listener"):
                await stage.comes(f"<presence {about} from='{sender}' to='{to}'/>")

    assert stage.seen() == []
    assert len(stage.line.written[stage._read :]) <= 54
    await stage.goes_on()


async def test_e79_every_way_out_of_a_room_is_a_way_out(stage: Stage) -> None:
    """E79, E87: who was thrown out by their server's error is out."""
    gone = "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"

    await stage.comes(
        f"<message type='error' from='{ROMEO}' to='{HOSTED}' id='x'>"
        f"<error type='cancel'>{gone}</error></message>"
    )
    await stage.alice_says("are you there?")

    assert stage.heard() == []
    await stage.comes(f"<presence from='{ROMEO}' to='{HOSTED}/Romeo'>{X}</presence>")
    assert "are you there?" in stage.heard()


async def test_e79_nicks_that_fly_by_are_slowed_down(stage: Stage) -> None:
    """E78, E79, S35: 100 changes a second are refused, and the room goes on."""
    for number in range(200):
        await stage.comes(
            f"<presence from='{ROMEO}' to='{HOSTED}/R{number}'></presence>"
        )

    answers = stage.written("presence")
    refused = [condition(a) for a in answers if a.get("type") == "error"]
    assert set(refused) == {"policy-violation"}
    assert len(refused) > 150
    renames = [
        event
        for event in stage.server.rooms[HALL].events
        if event["type"] == "m.room.member" and "romeo" in event["sender"]
    ]
    assert len(renames) < 50
    await stage.goes_on()


async def test_e88_a_form_in_a_message_is_only_a_message(stage: Stage) -> None:
    form = (
        "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_owners'>"
        "<value>eve@evil.example</value></field></x>"
    )
    await stage.romeo_says("form", "1", form)
    await stage.comes(
        f"<iq type='set' from='{ROMEO}' to='{HOSTED}' id='2'>"
        f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query></iq>"
    )

    (answer,) = stage.written("iq")
    assert condition(answer) in ("forbidden", "feature-not-implemented", "not-allowed")
    assert stage.seen() == ["form"]
    await stage.goes_on()


async def test_s11_a_nick_that_changed_hands_is_another_person(stage: Stage) -> None:
    await stage.romeo_says("mine", "1")
    await stage.comes(
        f"<presence type='unavailable' from='{ROMEO}' to='{HOSTED}/Romeo'/>",
        f"<presence from='{EVE}' to='{HOSTED}/Romeo'>{X}</presence>",
        f"<message type='groupchat' from='{EVE}' to='{HOSTED}' id='2'>{BODY}</message>",
    )

    senders = [
        event["sender"]
        for event in stage.server.rooms[HALL].events
        if event["type"] == "m.room.message"
    ]
    assert len(set(senders)) == 2
    assert ALICE not in senders


async def test_s2_a_name_from_xmpp_is_only_a_name(stage: Stage) -> None:
    """S2, S7: of HTML, of JSON or of mentions."""
    nick = "&lt;b&gt;x&quot;},&quot;msgtype&quot;:@room"
    await stage.comes(
        f"<presence from='{EVE}' to='{HOSTED}/{nick}'>{X}</presence>",
        f"<message type='groupchat' from='{EVE}' to='{HOSTED}' id='2'>"
        "<body>@room &lt;script&gt; @alice:hs</body></message>",
    )

    (event,) = [
        event
        for event in stage.server.rooms[HALL].events
        if event["type"] == "m.room.message"
    ]
    content = event["content"]
    assert content["m.mentions"] == {}
    assert "formatted_body" not in content
    assert content["body"] == "@room <script> @alice:hs"


@pytest.mark.parametrize(
    ("stanza", "answered"),
    [
        (f"<message type='chat' {{}} to='{PUPPET}'>{BODY}</message>", "message"),
        (f"<message type='groupchat' {{}} to='{HOSTED}'>{BODY}</message>", "message"),
        (f"<presence {{}} to='{HOSTED}/Long'>{X}</presence>", "presence"),
        (f"<presence type='unavailable' {{}} to='{HOSTED}/Long'/>", ""),
        (f"<iq type='get' {{}} to='{PUPPET}' id='1'><x/></iq>", "iq"),
        (f"<iq type='result' {{}} to='{PUPPET}' id='1'/>", ""),
    ],
)
async def test_an_address_that_no_database_can_index_is_refused_in_words(
    stage: Stage, stanza: str, answered: str
) -> None:
    sender = f"{'x' * (BARE_BYTES_MAX + 1 - len('@far.example'))}@far.example"

    await stage.comes(stanza.format(f"from='{sender}/balcony'"))

    fresh = stage.line.written[stage._read :]
    assert [condition(one) for one in fresh] == ["policy-violation"] * bool(answered)
    assert [name_of(one) for one in fresh] == [answered] * bool(answered)
    assert stage.xmpp.canonical(sender) is None
    await stage.goes_on()
