import asyncio
import signal
import socket

import pytest

from bridge import doctor
from bridge.config import load
from bridge.doctor import STEPS, Doctor
from bridge.store.store import SqlStore
from bridge.xmpp import trial
from tests.component_server import SECRET
from tests.homeserver import AS_TOKEN, Fault
from tests.site import HS_TOKEN, KEY, Site, free_port

Printed = pytest.CaptureFixture[str]
NAMES = [step.name for step in STEPS]
AWAY = "messages for people who are away"


class Report:
    """What a check has printed, and its exit code."""

    def __init__(self, code: int, printed: str) -> None:
        self.code = code
        first, *lines, self.last = printed.splitlines()
        assert first.startswith("✔ configuration: ")
        self.steps = dict(zip(NAMES, lines, strict=True))
        for name, line in self.steps.items():
            assert line[1:].startswith(f" {name}: ")

    def marked(self, mark: str) -> list[str]:
        return [name for name, line in self.steps.items() if line.startswith(mark)]

    def remedy(self, name: str) -> str:
        """Return the line of the only step that fails."""
        assert self.marked("✘") == [name]
        assert self.code == 1
        assert self.last == "1 to be mended."
        return self.steps[name]


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ANSWER_S", 0.1)
    monkeypatch.setattr(doctor, "ANSWER_S", 1.0)
    monkeypatch.setattr("bridge.xmpp.session.PROBE_S", 0.2)


async def check(site: Site, capsys: Printed, *changes: tuple[str, str]) -> Report:
    code = await Doctor(site.config(*changes)).examine()
    return Report(code, capsys.readouterr().out)


async def serve(site: Site, version: str = "0.12.3", name: str = "Prosody") -> None:
    """Answer as a server with an upload service does."""
    disco = "http://jabber.org/protocol/disco"
    for who, what, listed in (
        ("example", "items", "<item jid='upload.example'/>"),
        ("upload.example", "info", f"<feature var='{trial.UPLOAD}'/>"),
    ):
        asked = await site.xmpp.next()
        assert asked.get("to") == who
        site.xmpp.send(
            f"<iq type='result' id='{asked.get('id')}' from='{who}'"
            f" to='bridge.example'><query xmlns='{disco}#{what}'>{listed}</query>"
            "</iq>".encode()
        )
    asked = await site.xmpp.next()
    site.xmpp.send(
        f"<iq type='result' id='{asked.get('id')}' from='example' to='bridge.example'>"
        f"<query xmlns='{trial.VERSION}'><name>{name}</name>"
        f"<version>{version}</version></query></iq>".encode()
    )


async def test_all_is_well(site: Site, capsys: Printed) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(site))
        report = await check(site, capsys)

    assert report.marked("✔") == NAMES
    assert report.code == 0
    assert report.last == "All is well."
    assert "upload.example" in report.steps["upload service"]
    assert site.homeserver.pings == 1


async def test_a_server_that_loses_messages_is_named(
    site: Site, capsys: Printed
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(site, "24.10", "ejabberd"))
        report = await check(site, capsys)

    assert "update to 24.12" in report.remedy(AWAY)


async def test_secrets_that_others_know_are_no_failure_but_named(
    site: Site, capsys: Printed
) -> None:
    """S40: check warns."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(site))
        site.homeserver.hs_token = "h"
        report = await check(
            site, capsys, (f'hs_token = "{HS_TOKEN}"', 'hs_token = "h"')
        )

    assert report.marked("•") == ["secrets"]
    assert "appservice.hs_token can be guessed" in report.steps["secrets"]
    assert report.code == 0


async def test_a_missing_upload_service_is_no_failure(
    site: Site, capsys: Printed
) -> None:
    report = await check(site, capsys)

    assert report.marked("•") == ["upload service", AWAY]
    assert report.marked("✘") == []
    assert report.code == 0


async def test_a_key_that_does_not_fit_is_named(site: Site, capsys: Printed) -> None:
    store = await SqlStore.open(f"sqlite:///{site.folder}/one.db", bytes(32))
    await store.close()
    elsewhere = f'database = "sqlite:///{site.folder}/one.db"'

    report = await check(
        site, capsys, (f'key = "{KEY}"', f'key = "{"B" * 43}="\n{elsewhere}')
    )

    assert "restore the key file" in report.remedy("database")


async def test_a_bridge_that_runs_is_left_alone(site: Site, capsys: Printed) -> None:
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    handshakes = site.xmpp.handshakes
    code = await Doctor(load(config, {})).examine()
    report = Report(code, capsys.readouterr().out)
    await bridge.asked(signal.SIGTERM)

    assert "the bridge runs; stop it" in report.steps["database"]
    assert report.marked("•") == ["database", "component", "upload service", AWAY]
    assert report.code == 0
    assert "the bridge, which runs" in report.steps["hs_token"]
    assert site.xmpp.handshakes == handshakes


async def test_a_homeserver_that_is_away_is_named_once(
    site: Site, capsys: Printed
) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    report = await check(site, capsys, (site.homeserver.url, url))

    assert url in report.remedy("homeserver")
    assert "is homeserver.url right?" in report.steps["homeserver"]
    for name in ("clock", "as_token", "namespaces", "hs_token"):
        assert "not tried; first mend: " in report.steps[name]


async def test_a_homeserver_that_hangs_is_away(site: Site, capsys: Printed) -> None:
    site.homeserver.faults = [Fault("versions", hang=True)]

    report = await check(site, capsys)

    assert "does the homeserver run" in report.remedy("homeserver")


async def test_something_else_at_the_url_is_no_homeserver(
    site: Site, capsys: Printed
) -> None:
    site.homeserver.faults = [Fault("versions", 200, {"hello": "world"})]

    report = await check(site, capsys)

    assert "something answers that is no homeserver" in report.remedy("homeserver")


@pytest.mark.parametrize("date", ["Mon, 01 Jan 2001 00:00:00 GMT", "nonsense"])
async def test_a_clock_that_is_off_is_named(
    date: str, site: Site, capsys: Printed
) -> None:
    known = {"versions": ["v1.11"]}
    said = Fault("versions", 200, known, times=2, headers={"Date": date})
    site.homeserver.faults = [said]

    report = await check(site, capsys)

    if date == "nonsense":
        assert report.marked("•") == ["clock", "upload service", AWAY]
    else:
        assert "use NTP on both" in report.remedy("clock")


async def test_a_token_that_is_refused_is_named(site: Site, capsys: Printed) -> None:
    report = await check(site, capsys, (AS_TOKEN, "wrong"))

    assert "M_UNKNOWN_TOKEN" in report.remedy("as_token")
    assert "app_service_config_files" in report.steps["as_token"]


async def test_another_name_of_the_homeserver_is_named(
    site: Site, capsys: Printed
) -> None:
    report = await check(site, capsys, ('name = "hs"', 'name = "other"'))

    assert "is called 'hs', not 'other'" in report.remedy("as_token")
    assert "run init again" in report.steps["as_token"]


async def test_namespaces_that_are_not_ours_are_named(
    site: Site, capsys: Printed
) -> None:
    error = {"errcode": "M_EXCLUSIVE", "error": "not yours"}
    site.homeserver.faults = [Fault("register", 400, error)]

    report = await check(site, capsys)

    assert "(M_EXCLUSIVE)" in report.remedy("namespaces")
    assert "@xmppbot:hs" in report.steps["namespaces"]


async def test_another_hs_token_is_named(site: Site, capsys: Printed) -> None:
    site.homeserver.hs_token = "old"

    report = await check(site, capsys)

    assert "another hs_token than ours" in report.remedy("hs_token")
    assert "registration.yaml" in report.steps["hs_token"]


async def test_something_else_at_our_url_is_named(site: Site, capsys: Printed) -> None:
    site.homeserver.calls = site.homeserver.url

    report = await check(site, capsys)

    assert "something else than the bridge answers" in report.remedy("hs_token")


async def test_a_homeserver_that_cannot_reach_us_is_named(
    site: Site, capsys: Printed
) -> None:
    site.homeserver.calls = f"http://127.0.0.1:{free_port()}"

    report = await check(site, capsys)

    assert "M_CONNECTION_FAILED" in report.remedy("hs_token")
    assert "is appservice.url" in report.steps["hs_token"]


async def test_a_registration_of_another_id_is_named(
    site: Site, capsys: Printed
) -> None:
    site.homeserver.faults = [Fault("ping", 403, {"errcode": "M_FORBIDDEN"})]

    report = await check(site, capsys)

    assert "has another id" in report.remedy("hs_token")


async def test_a_connection_that_was_left_over_is_tried_anew(
    site: Site, capsys: Printed
) -> None:
    left = {"errcode": "M_CONNECTION_FAILED"}
    site.homeserver.faults = [Fault("ping", 502, left)]

    report = await check(site, capsys)

    assert report.marked("✘") == []


async def test_a_homeserver_without_ping_is_no_failure(
    site: Site, capsys: Printed
) -> None:
    site.homeserver.ping_known = False

    report = await check(site, capsys)

    assert report.marked("•") == ["hs_token", "upload service", AWAY]
    assert report.code == 0


async def test_a_port_that_is_taken_is_named(site: Site, capsys: Printed) -> None:
    host, _, port = site.listen.partition(":")
    with socket.create_server((host, int(port))):
        report = await check(site, capsys)

    assert site.listen in report.remedy("hs_token")
    assert "choose another port" in report.steps["hs_token"]


async def test_a_wrong_secret_is_named(site: Site, capsys: Printed) -> None:
    report = await check(site, capsys, (SECRET, "wrong"))

    assert "the secret is not the one" in report.remedy("component")
    assert "not tried" in report.steps["upload service"]


async def test_an_xmpp_server_that_is_away_is_named(
    site: Site, capsys: Printed
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    address = f"127.0.0.1:{site.xmpp.port}"

    report = await check(site, capsys, (address, nowhere))

    assert nowhere in report.remedy("component")
    assert "listen there for components?" in report.steps["component"]


async def test_several_failures_are_counted(site: Site, capsys: Printed) -> None:
    site.xmpp.refuse = "host-unknown"

    report = await check(site, capsys, (AS_TOKEN, "wrong"))

    assert report.marked("✘") == ["as_token", "component"]
    assert report.last == "2 to be mended."
    assert report.code == 1


async def test_a_fault_of_ours_is_named_and_the_rest_is_tried(
    site: Site, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CLOCK_S_MAX", "no number")

    report = await check(site, capsys)

    assert "(TypeError): please report it" in report.remedy("clock")
