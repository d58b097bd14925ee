from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from bridge.xmpp import adhoc
from bridge.xmpp.adhoc import COMMANDS, Adhoc
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.endtoend import Device, Trust
from bridge.xmpp.muc.stanza import to_element
from tests.unit.xmpp.elsewhere import DOMAIN, stanza
from tests.unit.xmpp.muc.cipher import FakeCipher

ALICE = f"alice_hs.example@{DOMAIN}"
JULIET = "juliet@capulet.lit"
OURS, THEIRS = "ffffffff 00000001", "1a2b3c4d 00000002"
EXECUTE = f"<command xmlns='{COMMANDS}' node='omemo' action='execute'/>"


@dataclass
class Devices(FakeCipher):
    """Alice has a device, unless she is *new*, and Juliet one that is verified."""

    new: bool = False
    decided: list[tuple[str, str, str, Trust]] = field(default_factory=list)

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        assert account == ALICE
        if peer == ALICE:
            return () if self.new else [Device(1, OURS, Trust.VERIFIED, active=True)]
        return [Device(2, THEIRS, Trust.VERIFIED, active=True)]

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        self.decided.append((account, peer, fingerprint, trust))
        return fingerprint == THEIRS


def jid(text: str) -> Jid:
    read = parse(text)
    assert read is not None
    return read


async def asks(made: Adhoc, inside: str, kind: str = "set") -> Element | None:
    iq = stanza(
        f"<iq type='{kind}' id='1' from='{JULIET}/x' to='{ALICE}'>{inside}</iq>"
    )
    answer = await made.answer(iq, jid(f"{JULIET}/x"), jid(ALICE))
    return None if answer is None else to_element(answer)


async def command(made: Adhoc, inside: str) -> Element:
    answer = await asks(made, inside)
    assert answer is not None
    assert answer.get("type") == "result"
    return answer[0]


def submits(*fingerprints: str) -> str:
    values = "".join(f"<value>{one}</value>" for one in fingerprints)
    return (
        f"<command xmlns='{COMMANDS}' node='omemo' sessionid='s1'>"
        "<x xmlns='jabber:x:data' type='submit'><field var='other'><value>x</value>"
        f"</field><field var='lost'>{values}</field></x></command>"
    )


async def test_a_form_shows_the_devices_of_both() -> None:
    """XEP-0050 §3.4; XEP-0384 §8: fingerprints are compared by people."""
    shown = await command(Adhoc(Devices()), EXECUTE)

    assert shown.get("status") == "executing"
    assert shown.get("sessionid")
    fields = {one.get("var"): one for one in shown.iterfind(".//{*}field")}
    assert fields["ours"].findtext("{*}value") == OURS
    (option,) = fields["lost"].iterfind("{*}option")
    assert option.get("label") == f"{THEIRS}: verified"
    assert option.findtext("{*}value") == THEIRS


async def test_who_has_no_device_yet_is_not_given_one_by_looking() -> None:
    shown = await command(Adhoc(Devices(new=True)), EXECUTE)

    assert shown.findtext(".//{*}field[@var='ours']/{*}value") == "none yet"
    assert shown.find(".//{*}option") is None


async def test_somebody_gives_up_a_device_of_their_own() -> None:
    devices = Devices()

    done = await command(Adhoc(devices), submits(THEIRS, "ff"))

    assert (done.get("status"), done.get("sessionid")) == ("completed", "s1")
    assert done.findtext("{*}note") == adhoc.DONE
    assert devices.decided == [
        (ALICE, JULIET, THEIRS, Trust.DISTRUSTED),
        (ALICE, JULIET, "ff", Trust.DISTRUSTED),
    ]


async def test_who_chooses_nothing_changes_nothing() -> None:
    done = await command(Adhoc(Devices()), submits())

    assert done.findtext("{*}note") == adhoc.NOTHING


async def test_who_cancels_changes_nothing() -> None:
    devices = Devices()
    cancel = EXECUTE.replace("execute", "cancel")

    assert (await command(Adhoc(devices), cancel)).get("status") == "canceled"
    assert devices.decided == []


async def test_where_omemo_is_off_that_is_said() -> None:
    done = await command(Adhoc(None), EXECUTE)

    assert done.findtext("{*}note") == adhoc.OFF


async def test_commands_are_found() -> None:
    """XEP-0050 §2.2."""
    made = Adhoc(Devices())
    items = "http://jabber.org/protocol/disco#items"
    info = "http://jabber.org/protocol/disco#info"

    listed = await asks(made, f"<query xmlns='{items}' node='{COMMANDS}'/>", "get")
    about = await asks(made, f"<query xmlns='{info}' node='omemo'/>", "get")

    assert listed is not None
    assert listed[0][0].get("node") == "omemo"
    assert about is not None
    assert about[0][0].get("type") == "command-node"


async def test_what_is_no_command_of_ours_is_not_answered_as_one() -> None:
    made = Adhoc(Devices())

    assert await asks(made, "<ping xmlns='urn:xmpp:ping'/>", "get") is None
    assert await asks(made, "") is None
    unknown = await asks(made, EXECUTE.replace("'omemo'", "'x'"))
    assert unknown is not None
    assert unknown.get("type") == "error"
