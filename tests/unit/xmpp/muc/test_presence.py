from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.model.events import Rank
from bridge.model.places import Network
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import addressed
from bridge.xmpp.muc.presence import (
    MUC_USER,
    NICK_CHANGED,
    Card,
    Stencils,
    available,
    shared,
    titles,
    unavailable,
)
from tests.unit.xmpp.muc.world import DOMAIN, ROMEO, TEA, parsed

NS = "{jabber:component:accept}"


@pytest.mark.parametrize("jid", ["", "a%b_hs@bridge.example"])
@pytest.mark.parametrize("called", ["", "<100 % &'\n\"> %b \U0001f98a"])
def test_a_stencil_writes_what_the_tree_says(jid: str, called: str) -> None:
    card = Card(f"{TEA}/100% 'sure'", "member", "participant", "0f", jid, called)

    quick = Stencils(DOMAIN).available(card).to(ROMEO)
    slow = addressed(available(card), DOMAIN).to(ROMEO)

    assert _flat(parsed(quick)[0]) == _flat(parsed(slow)[0])


def test_a_stencil_is_cut_once_for_all_that_look_alike() -> None:
    stencils = Stencils(DOMAIN)
    first = stencils.available(Card(f"{TEA}/a", "member", "participant", "1"))
    again = stencils.available(Card(f"{TEA}/b", "member", "participant", "2"))

    assert first.before.replace(b"/a'", b"/b'") == again.before
    assert first.after.replace(b"'1'", b"'2'") == again.after


def test_the_part_of_the_room_comes_before_those_of_the_client() -> None:
    """Profanity 0.13 takes the first ``<x>`` for it, and else loses its own nick."""
    photo = node("x", {"xmlns": "vcard-temp:x:update"})
    card = Card(f"{TEA}/romeo", "none", "participant", "0f", status=(photo,))

    for presence in (available(card), unavailable(card, (NICK_CHANGED,), nick="r")):
        parts = [part for part in presence.children if isinstance(part, Node)]
        spaces = [part.attributes["xmlns"] for part in parts if part.name == "x"]
        assert spaces == [MUC_USER, "vcard-temp:x:update"]


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("network", list(Network))
@pytest.mark.parametrize("rank", list(Rank))
def test_every_rank_has_titles(rank: Rank, network: Network, *, public: bool) -> None:
    """XEP-0045 §5."""
    affiliation, role = titles(rank, network, public=public)

    assert affiliation in ("owner", "admin", "member", "none")
    assert (role == "moderator") == (rank >= Rank.MODERATOR)
    if not public:
        # Clients encrypt for members; those of Matrix have a device only to speak.
        assert affiliation == ("member" if network is Network.XMPP else "none")


def test_only_what_concerns_others_is_shared() -> None:
    """XEP-0045 §7.7."""
    stanza = Element(f"{NS}presence")
    for tag in (f"{NS}show", f"{NS}status", "{vcard-temp:x:update}x", "{u}other"):
        SubElement(stanza, tag).text = "x"

    assert [part.name for part in shared(stanza, DOMAIN)] == ["show", "status", "x"]


@pytest.mark.parametrize("words", ["x" * 5000, ""])
def test_too_much_is_not_shared(words: str) -> None:
    stanza = Element(f"{NS}presence")
    status = SubElement(stanza, f"{NS}status")
    status.text = words
    for _ in range(70 if not words else 0):
        status = SubElement(status, f"{NS}status")

    assert shared(stanza, DOMAIN) == ()


def _flat(element: Element) -> list[tuple[str, dict[str, str], str | None]]:
    return [(e.tag, dict(e.attrib), e.text) for e in element.iter()]
