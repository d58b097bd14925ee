from dataclasses import dataclass, field

import pytest

from bridge.xmpp.cards import FRESH_S, NICK, Cards, nick
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.omemo.means import NotNowError

ALICE = "alice_hs.example@matrix.example"
NOBODY = "nobody@matrix.example"
RELAY = "relay@matrix.example"


@dataclass
class Matrix:
    """A homeserver that tells names; None while it is away."""

    names: dict[str, str] | None = field(default_factory=dict)
    asked: int = 0
    now: float = 0.0

    async def called(self, mxid: str) -> str | None:
        self.asked += 1
        return None if self.names is None else self.names.get(mxid, "")


@pytest.fixture
def matrix() -> Matrix:
    return Matrix({"@alice:hs.example": "Alice"})


@pytest.fixture
def cards(matrix: Matrix) -> Cards:
    return Cards(matrix.called, lambda: matrix.now)


def written(card: Node | None) -> dict[str, object]:
    assert card is not None
    fields = [child for child in card.children if isinstance(child, Node)]
    return {child.name: child.children[0] for child in fields}


async def test_a_card_tells_the_name_and_where_somebody_is_from(cards: Cards) -> None:
    """XEP-0054 §3.3; Converse shows the name of nobody's card but this."""
    assert written(await cards.card(ALICE)) == {
        "FN": "Alice",
        "NICKNAME": "Alice",
        "URL": "https://matrix.to/#/@alice:hs.example",
    }


async def test_the_bridge_has_a_card_as_well(cards: Cards, matrix: Matrix) -> None:
    assert written(await cards.card(RELAY)) == {"FN": "Matrix bridge"}
    assert matrix.asked == 0


@pytest.mark.parametrize("account", [NOBODY, "bob_hs.example@matrix.example"])
async def test_nobody_has_no_card_and_no_nickname(cards: Cards, account: str) -> None:
    assert await cards.card(account) is None
    assert await cards.items(account, NICK, "") is None


async def test_a_nickname_is_one_item(cards: Cards) -> None:
    assert await cards.nodes(ALICE) == (NICK,)
    assert await cards.items(ALICE, NICK, "") == (("current", nick("Alice")),)
    assert await cards.items(ALICE, "another", "") is None


async def test_the_bridge_has_no_nickname(cards: Cards) -> None:
    assert await cards.nodes(RELAY) == ()
    assert await cards.items(RELAY, NICK, "") is None


async def test_a_name_is_asked_for_once_in_a_while(
    cards: Cards, matrix: Matrix
) -> None:
    matrix.names = {"@alice:hs.example": "Alice"}
    await cards.card(ALICE)
    matrix.names = {"@alice:hs.example": "Alice Liddell"}

    assert written(await cards.card(ALICE))["FN"] == "Alice"
    matrix.now += FRESH_S
    assert written(await cards.card(ALICE))["FN"] == "Alice Liddell"
    assert matrix.asked == 2


async def test_nobody_is_said_to_be_nobody_while_the_homeserver_is_away(
    cards: Cards, matrix: Matrix
) -> None:
    matrix.names = None

    with pytest.raises(NotNowError):
        await cards.card(ALICE)


async def test_an_old_name_is_better_than_none(cards: Cards, matrix: Matrix) -> None:
    await cards.card(ALICE)
    matrix.names, matrix.now = None, FRESH_S

    assert written(await cards.card(ALICE))["FN"] == "Alice"


async def test_a_name_that_is_used_need_not_be_asked_for(
    cards: Cards, matrix: Matrix
) -> None:
    changes = [cards.learn(ALICE, name) for name in ("Alice", "Alice", "Al")]

    assert changes == [False, False, True]
    assert written(await cards.card(ALICE))["FN"] == "Al"
    assert matrix.asked == 0


async def test_not_all_names_are_remembered(
    cards: Cards, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.cards.NAMES_MAX", 1)
    for account in (ALICE, "bob_hs.example@matrix.example", ALICE):
        await cards.card(account)

    assert matrix.asked == 3
