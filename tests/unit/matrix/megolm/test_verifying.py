from typing import Any

import pytest

from bridge.matrix.megolm import verifying
from bridge.matrix.megolm.ports import ShortCode
from bridge.matrix.megolm.sas import AGREEMENT, HASH, MAC
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, BOT, ROOM, Party

TYPE = "m.key.verification."
KEY = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08"


@pytest.fixture
async def bot(bridge: Party, alice: Party) -> Party:
    await bridge.joins(BOT)
    return bridge


def start(device: str) -> dict[str, Any]:
    return {
        "from_device": device,
        "method": "m.sas.v1",
        "key_agreement_protocols": [AGREEMENT],
        "hashes": [HASH],
        "message_authentication_codes": [MAC],
        "short_authentication_string": ["decimal", "emoji"],
    }


def told(kind: str, **content: object) -> dict[str, Any]:
    return {"type": TYPE + kind, "sender": ALICE, "content": content}


async def test_who_verifies_by_their_device_is_answered_there(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    device = await alice.machine.device(ALICE)
    assert device
    codes: list[tuple[str, str, ShortCode]] = []
    bot.machine.on_code = lambda *code: codes.append(code)
    begun = start(device) | {"transaction_id": "t"}

    await bot.takes(BOT, [told("start", **begun)])
    await bot.takes(BOT, [told("key", key=KEY, transaction_id="t")])

    accept, key = server.take(ALICE, device)
    assert [accept["type"], key["type"]] == [f"{TYPE}accept", f"{TYPE}key"]
    assert accept["content"]["transaction_id"] == "t"
    assert [code[:2] for code in codes] == [(BOT, ALICE)]
    assert len(codes[0][2].emoji) == 7


async def test_who_verifies_in_a_room_is_answered_there(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    request = {
        "type": "m.room.message",
        "sender": ALICE,
        "event_id": "$request",
        "room_id": ROOM,
        "content": {
            "msgtype": f"{TYPE}request",
            "to": BOT,
            "from_device": "PHONE",
            "methods": ["m.sas.v1"],
        },
    }

    shown = await bot.machine.verify(BOT, request)

    ((kind, content),) = shown.replies
    assert kind == f"{TYPE}ready"
    assert content["m.relates_to"] == {
        "rel_type": "m.reference",
        "event_id": "$request",
    }
    begun = start("PHONE") | {"m.relates_to": content["m.relates_to"]}
    ((kind, accept),) = (await bot.machine.verify(BOT, told("start", **begun))).replies
    assert kind == f"{TYPE}accept"
    assert "transaction_id" not in accept


@pytest.mark.parametrize(
    "kind", ["key", "mac", "done", "cancel", "accept", "ready", "x"]
)
async def test_what_belongs_to_nothing_is_not_answered(bot: Party, kind: str) -> None:
    shown = await bot.machine.verify(BOT, told(kind, transaction_id="t"))

    assert shown.replies == ()


@pytest.mark.parametrize("content", [None, [], {}, {"transaction_id": 1}])
async def test_what_is_malformed_is_not_answered(bot: Party, content: object) -> None:
    event = {"type": f"{TYPE}start", "sender": ALICE, "content": content}

    assert (await bot.machine.verify(BOT, event)).replies == ()


@pytest.mark.parametrize("to", ["@bob:hs", None])
async def test_when_others_verify_each_other_in_a_room_nobody_of_ours_answers(
    bot: Party, to: object
) -> None:
    asked = {"msgtype": f"{TYPE}request", "from_device": "PHONE", "to": to}
    asked["methods"] = ["m.sas.v1"]
    request = told("x", **asked) | {"type": "m.room.message", "event_id": "$request"}
    relation = {"rel_type": "m.reference", "event_id": "$request"}
    begun = told("start", **start("PHONE"), **{"m.relates_to": relation})

    assert (await bot.machine.verify(BOT, request)).replies == ()
    assert (await bot.machine.verify(BOT, begun)).replies == ()


async def test_what_goes_wrong_is_said_once_and_is_over(bot: Party) -> None:
    begun = start("PHONE") | {"transaction_id": "t"}
    await bot.machine.verify(BOT, told("start", **begun))

    wrong = await bot.machine.verify(BOT, told("mac", transaction_id="t"))
    after = await bot.machine.verify(BOT, told("key", key=KEY, transaction_id="t"))

    ((kind, content),) = wrong.replies
    assert kind == f"{TYPE}cancel"
    assert content["code"] == "m.unexpected_message"
    assert after.replies == ()


@pytest.mark.parametrize("ended", ["cancelled", "late"])
async def test_what_is_over_does_not_go_on(
    bot: Party, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = start("PHONE") | {"transaction_id": "t"}
    await bot.machine.verify(BOT, told("start", **begun))
    if ended == "cancelled":
        await bot.machine.verify(BOT, told("cancel", transaction_id="t"))
    else:
        monkeypatch.setattr(verifying, "TIME_LIMIT_S", -1)

    after = await bot.machine.verify(BOT, told("key", key=KEY, transaction_id="t"))

    assert after.replies == ()


async def test_another_cannot_go_on_with_it(bot: Party) -> None:
    begun = start("PHONE") | {"transaction_id": "t"}
    await bot.machine.verify(BOT, told("start", **begun))

    other = told("key", key=KEY, transaction_id="t") | {"sender": "@mallory:hs"}

    assert (await bot.machine.verify(BOT, other)).replies == ()


async def test_who_has_no_device_is_not_verified(bot: Party) -> None:
    begun = start("PHONE") | {"transaction_id": "t"}
    shown = await bot.machine.verify("@_xmpp_nobody:hs", told("start", **begun))

    assert shown.replies == ()
