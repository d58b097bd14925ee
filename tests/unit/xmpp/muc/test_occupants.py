import asyncio
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp.iq import IqError
from bridge.xmpp.muc import occupants
from tests.unit.xmpp.muc.world import (
    JULIET,
    ROMEO,
    TEA,
    MucWorld,
    condition,
    settled,
)

INFO = "http://jabber.org/protocol/disco#info"
ALICE, HER = f"{TEA}/Alice", f"{TEA}/juliet"


def asks(to: str, node: str = "", kind: str = "get", space: str = INFO) -> str:
    query = f"<query xmlns='{space}'{f' node={node!r}' if node else ''}/>"
    return f"<iq type='{kind}' id='q' from='{ROMEO}' to='{to}'>{query}</iq>"


def can(feature: str) -> Element:
    """Write what a client answers that can do this."""
    answer = Element("iq", {"type": "result"})
    query = SubElement(answer, f"{{{INFO}}}query")
    SubElement(query, f"{{{INFO}}}feature", {"var": feature})
    return answer


def features(answer: Element) -> list[str | None]:
    return [one.get("var") for one in answer.iter(f"{{{INFO}}}feature")]


@pytest.fixture
async def both(world: MucWorld) -> MucWorld:
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    world.written()
    return world


async def answered(world: MucWorld, xml: str) -> Element:
    world.comes(xml)
    await settled()
    (answer,) = world.written(ROMEO)
    return answer


async def test_somebody_of_matrix_has_a_client_that_can_do_little(
    both: MucWorld,
) -> None:
    answer = await answered(both, asks(ALICE))

    assert answer.get("from") == ALICE
    identity = next(answer.iter(f"{{{INFO}}}identity"))
    assert (identity.get("category"), identity.get("type")) == ("client", "bot")
    assert features(answer) == [INFO]
    assert both.stream.asked == []


async def test_somebody_of_xmpp_answers_for_themselves(both: MucWorld) -> None:
    both.stream.answers[JULIET] = can("urn:xmpp:sce:1")

    answer = await answered(both, asks(HER, "http://client.example#hash"))

    assert (answer.get("from"), answer.get("id")) == (HER, "q")
    assert features(answer) == ["urn:xmpp:sce:1"]
    (asked,) = both.stream.asked
    assert asked[:2] == (JULIET, f"{TEA}/romeo")
    assert asked[2].attributes["node"] == "http://client.example#hash"


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (IqError("feature-not-implemented", "cancel", ""), "feature-not-implemented"),
        (TimeoutError(), "remote-server-timeout"),
        (ConnectionError(), "remote-server-timeout"),
        (ValueError(), "remote-server-timeout"),
        (Element("iq", {"type": "result"}), "service-unavailable"),
    ],
)
async def test_an_occupant_who_does_not_answer(
    both: MucWorld, instead: Element | Exception, said: str
) -> None:
    both.stream.answers[JULIET] = instead

    assert condition(await answered(both, asks(HER))) == said


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (asks(f"{TEA}/nobody"), "item-not-found"),
        (asks(ALICE, "http://client.example#hash"), "item-not-found"),
        (asks(HER, kind="set"), "service-unavailable"),
        (asks(HER, space="jabber:iq:last"), "service-unavailable"),
    ],
)
async def test_nothing_else_is_asked_of_anybody(
    both: MucWorld, xml: str, said: str
) -> None:
    assert condition(await answered(both, xml)) == said
    assert both.stream.asked == []


async def test_who_is_not_inside_learns_nothing_of_occupants(world: MucWorld) -> None:
    await world.joins(JULIET, "juliet")

    assert condition(await answered(world, asks(HER))) == "not-acceptable"


async def test_not_too_many_are_asked_at_once(
    both: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occupants, "ASKING_MAX", 1)
    both.stream.answers[JULIET] = can("urn:xmpp:sce:1")

    both.comes(asks(HER))
    both.comes(asks(HER))
    await asyncio.sleep(0)
    await settled()

    refused, told = both.written(ROMEO)
    assert condition(refused) == "resource-constraint"
    assert told.get("type") == "result"
    assert (await answered(both, asks(HER))).get("type") == "result"
