"""The bridge itself, set up and run as an administrator would: by its command line."""

import subprocess
from pathlib import Path
from typing import Protocol

from deploy.lab.children import Child
from deploy.lab.ports import HOST, Ports
from deploy.lab.synapse import Synapse
from deploy.lab.words import LabError

COMMAND_S = 60
READY = b" is ready"


class Server(Protocol):
    """What can be started."""

    def child(self) -> Child:
        """Write the configuration, and return the program that obeys it."""

    def ready(self) -> bool:
        """Tell whether it can be used."""


class XmppServer(Server, Protocol):
    """What the bridge and the clients need to know of an XMPP server."""

    name: str
    host: str
    muc: str
    component: str
    secret: str
    c2s_port: int
    component_port: int
    web_port: int


class Gateway:
    """One bridge between one Synapse and one XMPP server."""

    def __init__(
        self,
        python: Path,
        folder: Path,
        ports: Ports,
        synapse: Synapse,
        xmpp: XmppServer,
    ) -> None:
        self.command = python.parent / "xmpp-matrix-bridge"
        self.folder = folder
        self.config = folder / "config.toml"
        self.registration = folder / "registration.yaml"
        self.log = folder.parent / "bridge.log"
        self._port = ports.port("bridge")
        self._logged = 0
        self._synapse = synapse
        self._xmpp = xmpp

    def init(self, *more: str) -> str:
        """Run ``init``; return what it printed."""
        return self.call(
            "init",
            str(self.folder),
            f"--server-name={self._synapse.server_name}",
            f"--homeserver={self._synapse.url}",
            f"--component={self._xmpp.component}",
            f"--component-address={HOST}:{self._xmpp.component_port}",
            f"--component-secret={self._xmpp.secret}",
            f"--listen={HOST}:{self._port}",
            *more,
        )

    def check(self) -> str:
        """Run ``check``; return what it printed."""
        return self.call("check", f"--config={self.config}")

    def child(self) -> Child:
        """Return the bridge as a program to be started."""
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        command: list[str | Path] = [self.command, "run", f"--config={self.config}"]
        return Child("The bridge", command, self.log)

    def ready(self) -> bool:
        """Tell whether it has said, since it was last started, that it is ready."""
        return READY in self.log.read_bytes()[self._logged :]

    def call(self, *words: str) -> str:
        """Run one command to its end; raise with what it said if it fails."""
        done = subprocess.run(
            [str(self.command), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}".strip()
        if done.returncode:
            raise LabError(
                f"`xmpp-matrix-bridge {words[0]}` failed"
                f" (exit code {done.returncode}):\n{said}\n"
            )
        return said
