from dataclasses import replace

import pytest

from bridge.model.delivery import (
    Delivered,
    Description,
    Refusal,
    Refused,
)
from bridge.model.events import Protection
from bridge.xmpp.muc.messages import Spoken
from bridge.xmpp.muc.secrecy import CLEAR_NOW, HIDDEN, NO_OMEMO
from tests.unit.xmpp.muc.cipher import (
    FakeCipher,
    revealed,
    secret,
)
from tests.unit.xmpp.muc.vault import ALICES, JULIETS, RELAY, ROMEOS, Vault
from tests.unit.xmpp.muc.world import (
    ALICE,
    JULIET,
    ROMEO,
    TEA,
    VAULT,
    MucWorld,
    build,
    codes,
    item,
    message,
    name,
    nick,
    words,
)


async def test_a_room_is_answered_as_it_was_written_to(vault: Vault) -> None:
    await vault.sends(vault.says("in the clear", sealed=False))
    assert words(vault.around.written(ROMEO)[0]) == "in the clear"

    await vault.hears(secret("sealed", RELAY))
    vault.around.written()
    await vault.sends(vault.says("sealed, too", sealed=False, number=2))
    assert revealed(vault.around.written(ROMEO)[0]) == "sealed, too"

    await vault.hears("<body>clear</body>", "m2")
    vault.around.written()
    await vault.sends(vault.says("clear again", sealed=False, number=3))
    assert words(vault.around.written(ROMEO)[0]) == "clear again"
    assert vault.around.host.warned == [CLEAR_NOW]


async def test_that_a_room_is_sealed_outlives_us(vault: Vault) -> None:
    await vault.hears(secret("sealed", RELAY))

    again = build(vault.around.hosted._means.tasks, vault.around.store)
    await again.hosted.start()

    assert again.hosted._rooms.sealed == {VAULT}


async def test_what_was_said_in_the_clear_goes_so_to_who_cannot_read(
    vault: Vault,
) -> None:
    await vault.hears(secret("sealed", RELAY))
    vault.around.written()
    vault.cipher.without = {JULIETS}

    assert await vault.sends(vault.says("no secret", sealed=False)) == [Delivered()]

    assert words(vault.around.written(JULIET)[0]) == "no secret"


async def test_who_writes_in_the_clear_to_an_encrypted_room_is_named_once(
    vault: Vault,
) -> None:
    vault.encrypts()

    await vault.hears("<body>one</body>", "m1")
    await vault.hears("<body>two</body>", "m2")

    assert [isinstance(event, Spoken) for event in vault.around.events] == [True] * 2
    (told,) = vault.around.host.warned
    assert told.startswith("romeo writes without encryption")


async def test_who_comes_in_without_omemo_is_told_once(empty: Vault) -> None:
    empty.cipher.without = {ROMEOS}
    empty.encrypts()

    first = await empty.enters(ROMEO)
    again = await empty.enters(f"{ROMEOS}/balcony")
    other = await empty.enters(JULIET)

    told = [words(s) for s in (*first, *again, *other) if words(s)]
    assert told == [NO_OMEMO]


async def test_whose_devices_cannot_be_seen_is_told_what_would_help(
    empty: Vault,
) -> None:
    empty.cipher.hidden = {ROMEOS}
    empty.encrypts()

    shown = await empty.enters(ROMEO)

    told = [words(s) for s in shown if words(s)]
    assert told == [HIDDEN.format(relay=RELAY)]


async def test_an_encrypted_room_that_is_open_lets_everybody_in_as_a_member(
    empty: Vault,
) -> None:
    world = empty.around
    members = world.host.rooms[TEA].members
    world.host.rooms[TEA] = Description("Tea", "", members, encrypted=True)
    world.host.make(TEA)

    await world.joins(ROMEO, "romeo", TEA)

    (mine,) = [s for s in world.written(ROMEO) if "110" in codes(s)]
    assert "100" in codes(mine)
    assert (item(mine).get("affiliation"), item(mine).get("jid")) == ("member", ROMEOS)
    assert world.hosted._rooms.standing(TEA, ROMEOS) == "member"


async def test_a_room_that_becomes_encrypted_shows_who_is_there(empty: Vault) -> None:
    """XEP-0045 §10.2.1: 104 and 172 let clients ask anew what the room is."""
    world = empty.around
    await world.joins(ROMEO, "romeo", TEA)
    world.written()
    portal = world.host.portals[TEA]
    world.host.portals[TEA] = replace(portal, encrypted=True)
    said = replace(
        message(ALICE, "a secret", "Alice"), protection=Protection.END_TO_END
    )
    wires = world.hosted.prepare(said, world.route())
    assert not isinstance(wires, Refusal)

    await world.sends(wires)

    shown = world.written(ROMEO)
    assert codes(shown[0]) == {"104", "172"}
    jids = {nick(s): item(s).get("jid") for s in shown if name(s) == "presence"}
    assert jids["Alice"] == ALICES
    assert revealed(shown[-1]) == "a secret"


async def test_without_omemo_nothing_that_is_guarded_leaves(world: MucWorld) -> None:
    vault = Vault(world, FakeCipher())
    await vault.enters(ROMEO)
    world.written()

    (outcome,) = await vault.sends(vault.says("a secret"))

    assert isinstance(outcome, Refused)
    assert outcome.why is Refusal.WOULD_EXPOSE
    assert world.stream.data == []


async def test_if_it_cannot_be_found_out_whether_somebody_has_omemo_they_stay(
    empty: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def capable(account: str, peer: str) -> bool:
        raise OSError

    monkeypatch.setattr(empty.cipher, "capable", capable)
    empty.encrypts()

    shown = await empty.enters(ROMEO)

    assert [words(s) for s in shown if words(s)] == []
    assert "cannot be told" in caplog.text
    assert ROMEO in empty.around.hosted._rooms._rooms[VAULT].devices


async def test_who_needs_no_omemo_by_the_time_it_is_found_missing_is_not_told(
    empty: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def capable(account: str, peer: str) -> bool:
        empty.encrypts(exposed=True)  # somebody allows it meanwhile
        return False

    monkeypatch.setattr(empty.cipher, "capable", capable)
    empty.encrypts()

    shown = await empty.enters(ROMEO)

    assert [words(s) for s in shown if words(s)] == []


async def test_what_is_too_large_once_sealed_is_refused(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = vault.says("x" * 1000)
    monkeypatch.setattr("bridge.xmpp.gate.SIZE_BYTES_MAX", 1000)

    assert await vault.sends(parcel) == [Refused(Refusal.TOO_LARGE)]
