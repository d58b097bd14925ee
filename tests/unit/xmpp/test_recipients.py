from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import Passage, Sealed, Unsealable
from bridge.xmpp.recipients import NAMED_MAX, Lacking, seal_for_all
from tests.unit.xmpp.muc.cipher import NO_DEVICE, FakeCipher

PASSAGE = Passage(account="alice@bridge", peer="", to="tea@muc")
WORDS = (node("body", None, "soft!"),)
THERE, AWAY, LOST = "romeo@a.example", "juliet@a.example", "nurse@a.example"


async def sealed(
    cipher: FakeCipher, *present: str, absent: tuple[str, ...] = ()
) -> Sealed | Lacking | None:
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

    assert made == Lacking(f"{THERE}: {NO_DEVICE}", (THERE,))
    assert cipher.sealed == []


async def test_where_nobody_belongs_nothing_is_sealed_and_nobody_misses_it() -> None:
    assert await sealed(FakeCipher()) is None


async def test_if_all_are_away_and_none_of_them_could_read_it_they_are_named() -> None:
    cipher = FakeCipher(without={AWAY, LOST})

    made = await sealed(cipher, absent=(LOST, AWAY))

    words = f"{AWAY}, {LOST}: {NO_DEVICE}"
    assert made == Lacking(words, (AWAY, LOST), away=True)


async def test_of_those_who_are_all_away_it_is_said_what_each_lacks() -> None:
    """A server that is gone for good must not hold up what is said without it."""
    cipher = FakeCipher(without={AWAY}, away={LOST})

    made = await sealed(cipher, absent=(AWAY, LOST))

    words = f"{LOST}: their server is away; {AWAY}: {NO_DEVICE}"
    assert made == Lacking(words, (AWAY, LOST), away=True)


async def test_of_many_only_some_are_named() -> None:
    crowd = tuple(f"{number}@a.example" for number in range(NAMED_MAX + 2))

    made = await sealed(FakeCipher(without={*crowd}), absent=crowd)

    assert isinstance(made, Lacking)
    assert made.words.startswith("0@a.example, 1@a.example, ")
    assert made.words.endswith(f" and 2 more: {NO_DEVICE}")
    assert made.jids == crowd


async def test_what_is_nobodys_fault_is_not_tried_for_ever() -> None:
    class Keyless(FakeCipher):
        async def encrypt(self, *_: object) -> Unsealable:
            return Unsealable("no keys", ("alice@bridge",), passing=True)

    made = await sealed(Keyless(), absent=(AWAY,))

    assert made == Lacking("no keys", passing=True)
