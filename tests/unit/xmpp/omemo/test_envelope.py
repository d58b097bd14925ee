from xml.etree.ElementTree import Element, SubElement

from bridge.xmpp.codec.message import HOPS, hops
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc.stanza import STREAM, to_element, wrap
from bridge.xmpp.omemo import envelope
from bridge.xmpp.omemo.names import LEGACY, OMEMO2


def encrypted(namespace: str) -> Node:
    return node("encrypted", {"xmlns": namespace})


def test_the_encryption_is_named() -> None:
    """XEP-0380 §3: the namespace and, for who does not know it, the name."""
    (_, named, *_) = envelope.sealed([encrypted(OMEMO2)], ())

    assert named.attributes == {
        "xmlns": "urn:xmpp:eme:0",
        "namespace": OMEMO2,
        "name": "OMEMO",
    }


def test_if_there_are_two_the_one_that_most_clients_know_is_named() -> None:
    both = [encrypted(OMEMO2), encrypted(LEGACY)]

    named = envelope.sealed(both, ())[2]

    assert named.attributes["namespace"] == LEGACY


def test_a_hint_is_not_given_twice() -> None:
    hint = node("store", {"xmlns": "urn:xmpp:hints"})

    children = envelope.sealed([encrypted(LEGACY)], (hint,))

    assert [child.name for child in children].count("store") == 1


def test_an_empty_message_has_no_words_but_is_stored() -> None:
    assert [child.name for child in envelope.empty(encrypted(LEGACY))] == [
        "encrypted",
        "store",
    ]


def test_words_are_those_of_the_message_itself() -> None:
    other = node("body", {"xmlns": "urn:example"}, "not these")

    assert envelope.words((other, Node("body", {}, ("a", "b")))) == "ab"
    assert envelope.words((other,)) is None


def test_of_a_legacy_message_only_what_may_stand_outside_is_taken() -> None:
    stanza = Element(f"{{{STREAM}}}message")
    SubElement(stanza, f"{{{STREAM}}}body").text = "outer"
    SubElement(stanza, f"{{{STREAM}}}thread").text = "t"
    SubElement(stanza, "{urn:xmpp:reply:0}reply", {"id": "m"})
    SubElement(stanza, "{jabber:x:oob}x")

    found = envelope.legacy(b"inner", stanza)

    assert found is not None
    assert [child.name for child in found] == ["body", "thread", "reply"]
    assert found[0].children == ("inner",)


def test_how_many_bridges_have_carried_it_stands_outside() -> None:
    """Else words could go in circles once two bridges encrypt."""
    carried = Node("hops", {"xmlns": HOPS, "count": "2"})
    stanza = Element(f"{{{STREAM}}}message")
    stanza.append(to_element(carried))

    assert envelope.beside((carried,)) == (carried,)
    opened = envelope.legacy(b"words", stanza)
    assert opened is not None
    assert hops(wrap("message", {}, opened)) == 2


def test_words_that_are_no_text_are_refused() -> None:
    assert envelope.legacy(b"\xff", Element("message")) is None


def test_what_is_nested_too_deeply_is_refused() -> None:
    stanza = Element("message")
    inside = SubElement(stanza, "{urn:xmpp:reply:0}reply")
    for _ in range(100):
        inside = SubElement(inside, "x")

    assert envelope.legacy(b"words", stanza) is None
