"""What nobody may learn: from the log, from the disk, from how things are compared."""

import io
import re
import tomllib
from pathlib import Path

import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import Homeserver, MatrixError
from bridge.model.delivery import Arrival, Parcel, Taken, Wire
from bridge.model.places import Network, Room
from bridge.store.store import SqlStore
from tests.homeserver import AS_TOKEN, Fault
from tests.hostile.stage import HOSTED, ROMEO, Stage
from tests.unit.matrix.world import ALICE, BOT, HALL
from tests.unit.xmpp.elsewhere import DOMAIN

CANARY = "canary-7f3a9c"
ROOT = Path(__file__).parents[2]
PUPPET = f"alice_hs@{DOMAIN}"


async def test_s25_at_debug_the_log_has_no_word_and_no_token(
    stage: Stage, log: io.StringIO
) -> None:
    """S25: what crosses, what is refused, what is malformed, what cannot be sent."""
    await stage.alice_says(CANARY)
    await stage.romeo_says(CANARY, "1")
    await stage.alice_says({"body": CANARY})
    await stage.alice_says(CANARY, msgtype="m.file", url=f"mxc://hs/{CANARY}")
    await stage.alice_says(f"!xmpp {CANARY} {CANARY}")
    stage.server.faults.append(Fault("/send/", 403, {"errcode": "M_FORBIDDEN"}))
    await stage.romeo_says(CANARY, "2")
    stage.server.faults.append(Fault("/send/", 500, {"errcode": "M_UNKNOWN"}))
    await stage.romeo_says(CANARY, "3")
    await stage.comes(
        f"<message type='chat' from='{ROMEO}' to='{PUPPET}' id='4'>"
        f"<body>{CANARY}</body></message>",
        f"<message type='chat' from='{ROMEO}' to='{HOSTED}/Alice' id='5'>"
        f"<body>{CANARY}</body></message>",
        f"<message type='groupchat' from='{ROMEO}' to='{HOSTED}' id='6'>"
        f"<body>{CANARY}</body><encrypted xmlns='urn:xmpp:omemo:2'><payload>{CANARY}"
        "</payload></encrypted></message>",
    )
    await stage.pushes(f'{{"events":[{{"event_id":5,"content":"{CANARY}"}}]}}'.encode())

    said = log.getvalue()
    assert said
    assert CANARY not in said
    assert AS_TOKEN not in said


async def test_s13_we_act_for_nobody_but_our_own(stage: Stage) -> None:
    """S13: whatever the registration at the homeserver would allow."""
    homeserver = Homeserver(stage.server.url, AS_TOKEN, "hs")
    homeserver.ours = stage.matrix.is_ours
    before = len(stage.server.requests)

    for user in (ALICE, "@_xmpp_x:other", f"{BOT}.evil", "xmppbot", "@xmppbot2:hs"):
        with pytest.raises(MatrixError, match="no user of ours"):
            await homeserver.request("GET", "/_matrix/client/v3/sync", user=user)

    assert len(stage.server.requests) == before
    await homeserver.close()


async def test_s13_the_adapter_itself_is_bound_by_that(stage: Stage) -> None:
    assert not stage.matrix._bot._homeserver.ours(ALICE)
    assert stage.matrix._bot._homeserver.ours(BOT)


async def test_s23_what_waits_on_disk_is_sealed(tmp_path: Path) -> None:
    """S23: neither words nor addresses' words are in the files."""
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", bytes(32))
    room = Room(Network.MATRIX, HALL)
    wire = Wire("key", CANARY.encode())
    unit = Unit(
        take=[Taken(store.number(), Arrival(room, "$1", CANARY.encode()))],
        parcels=[Parcel(store.number(), Network.XMPP, "1", wire, CANARY.encode())],
    )
    await store.commit(unit)
    await store.close()

    files = read_all(tmp_path)
    assert files
    assert not any(CANARY.encode() in content for content in files)


def read_all(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir() if file.is_file()]


def test_s22_secrets_are_compared_in_constant_time() -> None:
    """S22, S34: and nothing is older than what is known to be safe."""
    compared = re.compile(r"(?:_token|secret|hmac|digest|mac)\w* *(?:==|!=) ")
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "bridge").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if compared.search(line)
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs = project["project"]["dependencies"]

    assert found == []
    assert any(one.startswith("vodozemac>=0.10") for one in needs)


def test_s2_no_stanza_is_made_of_strings() -> None:
    """S2: XML is written by one function of one file, from trees."""
    made = re.compile(r"""f["']{1,3}<[a-z/]""")
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "bridge" / "xmpp").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if made.search(line)
    ]

    assert found == []
