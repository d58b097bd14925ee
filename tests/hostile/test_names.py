"""Names from people who mean no good: none passes for another's, nothing breaks."""

from hypothesis import given, strategies as st
from slixmpp import JID, InvalidJID

from bridge.matrix.codec import names as matrix
from bridge.xmpp.codec import names as xmpp
from bridge.xmpp.codec.nicks import LETTERS_MAX, MARKS_MAX
from bridge.xmpp.codec.prep import nodeprep, resourceprep
from tests.names_million import check

letters = st.characters(exclude_categories=["Cs"], exclude_characters=":\0")
locals_ = st.text(letters, min_size=1, max_size=40).filter(
    lambda text: not any(c.isspace() for c in text)
)
servers = st.sampled_from(["hs", "HS.org", "[::1]:80", "a-b.c:8448", "192.0.2.1"])
mxids = st.builds("@{}:{}".format, locals_, servers)
persons = st.text(min_size=1, max_size=60)
anything = st.text(st.characters(), max_size=60)


def test_random_ids_are_read_back() -> None:
    assert check(2000) >= 2000


@given(mxids, mxids)
def test_no_two_people_of_matrix_share_an_address(one: str, other: str) -> None:
    """S12."""
    first, second = xmpp.puppet_local(one), xmpp.puppet_local(other)

    assert (first == second) == (one == other)
    assert xmpp.mxid_of(first) == one
    assert nodeprep(first) == first


@given(persons, persons)
def test_no_two_people_of_xmpp_share_a_ghost(one: str, other: str) -> None:
    """S12; peers 4.1."""
    first, second = matrix.ghost_mxid(one, "hs"), matrix.ghost_mxid(other, "hs")

    assert (first == second) == (one == other)
    assert matrix.person_of(first, "hs") in (one, None)
    assert len(first) <= matrix.ID_BYTES_MAX


@given(anything)
def test_nothing_that_is_typed_breaks_anything(text: str) -> None:
    matrix.typed_address(text)
    matrix.valid_mxid(text)
    matrix.person_of(text, "hs")
    matrix.person_of(f"@_xmpp_{text}:hs", "hs")
    matrix.muc_of(f"#_xmpp_{text}:hs", "hs")
    matrix.ghost_mxid(text, "hs")
    xmpp.mxid_of(text)
    xmpp.room_of(text)
    xmpp.room_of(f"#{text}#hs")
    xmpp.puppet_local(text)
    xmpp.room_local(f"#{text}")


@given(anything)
def test_an_address_is_canonical_once_and_for_all(text: str) -> None:
    for given_text in (
        text,
        f"{text}@example.org",
        f"a@{text}",
        f"a@example.org/{text}",
    ):
        jid = xmpp.parse(given_text)
        assert jid is None or xmpp.parse(jid.full) == jid


@given(st.text(st.characters(max_codepoint=0x17F), min_size=1, max_size=10))
def test_locals_are_prepared_as_the_library_does_it(text: str) -> None:
    try:
        known = JID(f"{text}@example.org").bare
    except InvalidJID:
        return
    ours = xmpp.parse(f"{text}@example.org")

    assert ours is None or "/" in text or "@" in text or ours.bare == known


@given(anything)
def test_a_nick_stays_as_it_is(name: str) -> None:
    """S7."""
    nick = xmpp.safe_nick(name)

    assert resourceprep(nick) == nick
    assert nick.strip() == nick
    assert 1 <= len(nick) <= LETTERS_MAX * (1 + MARKS_MAX)
    assert xmpp.safe_nick(nick) == nick


@given(st.lists(anything, max_size=10))
def test_nobody_gets_the_nick_of_another(names: list[str]) -> None:
    taken: set[str] = set()
    for name in names:
        nick = xmpp.unique_nick(xmpp.safe_nick(name), taken)
        assert xmpp.same_nick_key(nick) not in taken
        taken.add(xmpp.same_nick_key(nick))
