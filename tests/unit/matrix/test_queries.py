import pytest

from bridge.matrix.queries import ThirdParty


class Addresses:
    """The addresses of a component called bridge.lit."""

    def canonical(self, address: str) -> str:
        bare = address.lower().partition("/")[0]
        return bare if bare.count("@") <= 1 and not bare.startswith("@") else ""

    def stands_for(self, address: str) -> str:
        return {
            "alice_hs@bridge.lit": "@alice:hs",
            "#tea#hs@bridge.lit": "#tea:hs",
        }.get(address, "")

    def of(self, name: str) -> str:
        return {
            "@alice:hs": "alice_hs@bridge.lit",
            "#tea:hs": "#tea#hs@bridge.lit",
        }.get(name, "")


THIRD_PARTY = ThirdParty("hs", Addresses())


def test_a_jid_leads_to_its_ghost() -> None:
    assert THIRD_PARTY.users({"jid": "Juliet@capulet.lit/balcony"}) == [
        {
            "userid": "@_xmpp_juliet=40capulet.lit:hs",
            "protocol": "xmpp",
            "fields": {"jid": "juliet@capulet.lit"},
        }
    ]


def test_a_ghost_leads_to_its_jid() -> None:
    (found,) = THIRD_PARTY.users_of({"userid": "@_xmpp_juliet=40capulet.lit:hs"})

    assert found["fields"] == {"jid": "juliet@capulet.lit"}


def test_a_puppet_leads_to_whose_it_is() -> None:
    (found,) = THIRD_PARTY.users({"jid": "alice_hs@bridge.lit"})

    assert found["userid"] == "@alice:hs"


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
    assert THIRD_PARTY.locations_of({"alias": "#_xmpp_orchard_muc.lit:hs"}) == [both]


def test_a_room_that_we_host_and_its_alias_lead_to_each_other() -> None:
    (there,) = THIRD_PARTY.locations({"room": "#tea#hs@bridge.lit"})
    (back,) = THIRD_PARTY.locations_of({"alias": "#tea:hs"})

    assert there == back
    assert there["alias"] == "#tea:hs"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"jid": "", "room": ""},
        {"jid": "a@b@c", "room": "a@b@c"},
        {"jid": "#tea#hs@bridge.lit", "room": "alice_hs@bridge.lit"},
        {"userid": "alice", "alias": "tea"},
        {"userid": "@nobody:elsewhere", "alias": "#nothing:elsewhere"},
    ],
)
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
