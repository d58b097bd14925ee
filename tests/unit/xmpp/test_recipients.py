import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import Passage, Sealed, Unsealable
from bridge.xmpp.recipients import in_words, seal_for_all
from tests.unit.xmpp.muc.cipher import NO_DEVICE, FakeCipher

PASSAGE = Passage(account="alice@bridge", peer="", to="tea@muc")
WORDS = (node("body", None, "soft!"),)
THERE, AWAY, LOST = "romeo@a.example", "juliet@a.example", "nurse@a.example"


async def sealed(
    cipher: FakeCipher, *present: str, absent: tuple[str, ...] = ()
) -> Sealed | Unsealable | None:
    people = (*present, *absent), present
    return await seal_for_all(cipher, WORDS, PASSAGE, people, Unit())


async def test_all_who_belong_can_read_it() -> None:
    cipher = FakeCipher()

    assert isinstance(await sealed(cipher, THERE, absent=(AWAY,)), Sealed)
    assert cipher.sealed == [(PASSAGE, (THERE, AWAY))]


async def test_who_is_away_and_cannot_read_it_holds_up_nobody() -> None:
    cipher = FakeCipher(without={AWAY}, away={LOST})

    assert isinstance(await sealed(cipher, THERE, absent=(AWAY, LOST)), Sealed)
    assert cipher.sealed == [(PASSAGE, (THERE,))]


async def test_of_those_who_are_there_all_can_read_it_or_none() -> None:
    cipher = FakeCipher(without={THERE, AWAY})

    made = await sealed(cipher, THERE, LOST, absent=(AWAY,))

    assert made == Unsealable(NO_DEVICE, (THERE,))
    assert cipher.sealed == []


async def test_for_nobody_nothing_is_sealed() -> None:
    assert await sealed(FakeCipher()) is None
    assert await sealed(FakeCipher(without={AWAY}), absent=(AWAY,)) is None


async def test_what_is_nobodys_fault_is_not_tried_for_ever() -> None:
    class Keyless(FakeCipher):
        async def encrypt(self, *_: object) -> Unsealable:
            return Unsealable("no keys", ("alice@bridge",), passing=True)

    made = await sealed(Keyless(), absent=(AWAY,))

    assert isinstance(made, Unsealable)
    assert made.passing


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Unsealable("too large"), "too large"),
        (Unsealable("no device", ("a@b", "c@d")), "a@b, c@d: no device"),
    ],
)
def test_it_is_said_who_cannot_read_it(made: Unsealable, words: str) -> None:
    assert in_words(made) == words
