"""Find free ports on loopback, the same ones again when a state is resumed."""

import json
import socket
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Tell whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Tell whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


class Ports:
    """Ports by name, kept in a file: whoever comes back finds them where they were."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, int] = {}
        if file.exists():
            self._known = json.loads(file.read_text())

    def port(self, name: str) -> int:
        """Return the port of that name; a new one if the old one is taken."""
        known = self._known.get(name)
        if known is not None and is_free(known):
            return known
        port = free_port()
        while port in self._known.values():
            port = free_port()
        self._known[name] = port
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known, indent=1))
        return port
