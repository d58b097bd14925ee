"""One Synapse, one XMPP server and one bridge between them, for tests."""

import asyncio
import contextlib
import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from deploy.lab.children import Child
from deploy.lab.ejabberd import Ejabberd
from deploy.lab.gateway import Gateway, Server, XmppServer
from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.ports import Ports
from deploy.lab.prosody import Prosody
from deploy.lab.synapse import Synapse
from deploy.lab.venvs import STATE
from deploy.lab.words import LabError
from deploy.lab.xmpp_people import XmppPerson

SERVER_NAME = "hs.localhost"
SECRET = "on-loopback-only"
SERVERS: dict[str, Callable[[Path, Ports, str], XmppServer]] = {
    "prosody": Prosody,
    "ejabberd": Ejabberd,
    "prosody13": partial(Prosody, newer=True),
    "ejabberd24": partial(Ejabberd, newer=True),
}
STABLE = ("prosody", "ejabberd")
NEWER = ("prosody13", "ejabberd24")


@contextlib.contextmanager
def place_for(kind: str) -> Iterator[Path]:
    """Return an empty folder that nobody else uses meanwhile."""
    parent = STATE / "e2e"
    parent.mkdir(parents=True, exist_ok=True)
    for name in (kind, *(f"{kind}-{number}" for number in range(2, 20))):
        with (parent / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(parent / name, ignore_errors=True)
            yield parent / name
            return
    raise LabError("Too many of these tests run at once")


class World:
    """One of each, from nothing."""

    def __init__(self, kind: str, python: Path, folder: Path) -> None:
        ports = Ports(folder / "ports.json")
        self.kind = kind
        self.python = python
        self.folder = folder
        self.synapse = Synapse(folder / "synapse", ports, SERVER_NAME)
        self.xmpp: XmppServer = SERVERS[kind](folder / kind, ports, SECRET)
        self.gateway = Gateway(
            python, folder / "bridge", ports, self.synapse, self.xmpp
        )
        self._servers: dict[str, Child] = {}

    def start(self) -> None:
        """Bring everything up, as an administrator would."""
        self.gateway.init()
        self.synapse.registrations = [self.gateway.registration]
        self._start("xmpp")
        self._start("synapse")
        self._start("bridge")

    def stop(self) -> None:
        """Bring everything down."""
        for name in ("bridge", "synapse", "xmpp"):
            if name in self._servers:
                self._servers[name].stop()

    @property
    def bridge(self) -> Child:
        """The bridge that runs."""
        return self._servers["bridge"]

    async def restart(self, name: str) -> None:
        """End a server politely and start it again."""
        await asyncio.to_thread(self._servers[name].stop)
        await asyncio.to_thread(self._start, name)

    async def crash(self, name: str) -> None:
        """Kill a server with SIGKILL and start it again."""
        await asyncio.to_thread(self._servers[name].kill)
        await asyncio.to_thread(self._start, name)

    async def end_bridge(self, within_s: float) -> int:
        """Send the bridge SIGTERM; return its exit code."""
        self.bridge.send(signal.SIGTERM)
        return await asyncio.to_thread(self.bridge.wait, within_s)

    async def start_bridge(self) -> None:
        """Start the bridge after it has ended."""
        await asyncio.to_thread(self._start, "bridge")

    def bridge_log(self) -> str:
        """Return all that the bridge has logged."""
        log = self.gateway.log
        return log.read_text(errors="replace") if log.exists() else ""

    def puppet(self, person: MatrixPerson) -> str:
        """Return the JID under which XMPP reaches somebody of Matrix."""
        return f"{person.localpart}_{SERVER_NAME}@{self.xmpp.component}"

    def ghost(self, jid: XmppPerson | str) -> str:
        """Return the Matrix id of somebody of XMPP."""
        address = jid if isinstance(jid, str) else jid.jid
        return f"@_xmpp_{address.replace('@', '=40')}:{SERVER_NAME}"

    def hosted(self, alias: str) -> str:
        """Return the JID of a Matrix room, by its alias's localpart."""
        return f"#{alias}#{SERVER_NAME}@{self.xmpp.component}"

    def muc_alias(self, muc: str) -> str:
        """Return the alias that leads to a MUC."""
        return f"#_xmpp_{muc.replace('@', '_')}:{SERVER_NAME}"

    @property
    def bot(self) -> str:
        """The Matrix id of the bridge itself."""
        return f"@xmppbot:{SERVER_NAME}"

    def _start(self, name: str) -> None:
        servers: dict[str, Server] = {
            "xmpp": self.xmpp,
            "synapse": self.synapse,
            "bridge": self.gateway,
        }
        child = servers[name].child()
        self._servers[name] = child
        child.start()
        child.wait_ready(servers[name].ready)
