import pytest

from bridge.matrix.queries import ThirdParty


class Names:
    def ghost(self, jid: str) -> str:
        return "@_xmpp_juliet=40capulet.lit:hs" if jid == "juliet@capulet.lit" else ""

    def jid(self, mxid: str) -> str:
        return "alice_hs@bridge.lit" if mxid == "@alice:hs" else ""

    def alias(self, muc: str) -> str:
        return "#_xmpp_orchard_muc.lit:hs" if muc == "orchard@muc.lit" else ""

    def muc(self, alias: str) -> str:
        return "orchard@muc.lit" if alias == "#_xmpp_orchard_muc.lit:hs" else ""


THIRD_PARTY = ThirdParty(Names())


def test_a_jid_leads_to_its_ghost() -> None:
    assert THIRD_PARTY.users({"jid": "juliet@capulet.lit"}) == [
        {
            "userid": "@_xmpp_juliet=40capulet.lit:hs",
            "protocol": "xmpp",
            "fields": {"jid": "juliet@capulet.lit"},
        }
    ]


def test_a_matrix_user_leads_to_their_jid() -> None:
    assert THIRD_PARTY.users_of({"userid": "@alice:hs"}) == [
        {
            "userid": "@alice:hs",
            "protocol": "xmpp",
            "fields": {"jid": "alice_hs@bridge.lit"},
        }
    ]


def test_a_muc_and_its_alias_lead_to_each_other() -> None:
    both = {
        "alias": "#_xmpp_orchard_muc.lit:hs",
        "protocol": "xmpp",
        "fields": {"room": "orchard@muc.lit"},
    }

    assert THIRD_PARTY.locations({"room": "orchard@muc.lit"}) == [both]
    assert THIRD_PARTY.locations_of({"alias": both["alias"]}) == [both]  # type: ignore[dict-item]


@pytest.mark.parametrize("query", [{}, {"jid": ""}, {"jid": "a@b@c"}, {"alias": "x"}])
def test_what_leads_nowhere_is_not_found(query: dict[str, str]) -> None:
    assert THIRD_PARTY.users(query) == []
    assert THIRD_PARTY.locations(query) == []
    assert THIRD_PARTY.users_of(query) == []
    assert THIRD_PARTY.locations_of(query) == []


def test_the_protocol_tells_its_fields() -> None:
    protocol = THIRD_PARTY.protocol()

    assert set(protocol["field_types"]) == {
        *protocol["user_fields"],
        *protocol["location_fields"],
    }
