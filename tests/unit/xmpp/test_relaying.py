import pytest

from bridge.xmpp.packing import Speech
from bridge.xmpp.relaying import relayed
from tests.unit.xmpp.elsewhere import LISTENER, MUC, stanza


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("hello", "Bob: hello"),
        ("*so*", "Bob: *so*"),
        ("/me waves", "* Bob waves"),
        ("&gt; quoted", "Bob:\n> quoted"),
        ("```\ncode\n```", "Bob:\n```\ncode\n```"),
    ],
)
def test_a_name_stands_before_what_is_said(body: str, said: str) -> None:
    text = (
        "<message type='groupchat' from='bob@bridge.example/matrix' to='tea@x.example'"
        f" id='m1'><body>{body}</body><store xmlns='urn:xmpp:hints'/></message>"
    )

    made = relayed(Speech(MUC, "@bob:hs", "Bob", text.encode()), LISTENER)

    written = stanza(made.stanza.decode())
    assert made.mxid == ""
    assert written.get("from") == LISTENER
    assert written.get("id") == "m1"
    assert [part.text for part in written] == [said, None]
