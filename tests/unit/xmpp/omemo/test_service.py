from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.omemo.service import Omemo


def test_omemo_is_an_encryption_like_any_other() -> None:
    port: type[EndToEnd] = Omemo

    assert vars(port)["name"] == "OMEMO"
