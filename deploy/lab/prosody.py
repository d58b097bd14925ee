"""A Prosody of our own, from Debian's package but never as its service."""

import json
from pathlib import Path

from deploy.lab import backports, debian, venvs
from deploy.lab.children import Child
from deploy.lab.ports import Ports, answers

# A JSON string of plain ASCII is a Lua string.
CONFIG = """\
run_as_root = true  -- in a sandbox or a container there may be nobody else
daemonize = false
pidfile = {folder}.."/prosody.pid"
data_path = {folder}.."/data"
certificates = {folder}.."/certs"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}

interfaces = {{ "127.0.0.1" }}
local_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
legacy_ssl_ports = {{ }}
s2s_ports = {{ }}
http_ports = {{ {web} }}
https_ports = {{ }}
http_interfaces = {{ "127.0.0.1" }}
http_default_host = {host}
component_ports = {{ {component} }}
component_interfaces = {{ "127.0.0.1" }}

modules_enabled = {{
    "roster", "saslauth", "disco", "carbons", "pep", "private", "blocklist",
    "vcard4", "vcard_legacy", "version", "ping", "register", "time", "uptime",
    "mam", "csi_simple", "smacks", "offline", "bookmarks", "http", "websocket",
}}
modules_disabled = {{ "s2s", "tls" }}

-- On loopback, for clients without certificates:
c2s_require_encryption = false
consider_websocket_secure = true
allow_unencrypted_plain_auth = true
allow_registration = true
authentication = "internal_hashed"
archive_expires_after = "never"

VirtualHost {host}

Component {muc} "muc"
    modules_enabled = {{ "muc_mam" }}
    restrict_room_creation = false
    muc_log_by_default = true
    muc_room_allow_persistent = true
    muc_room_default_persistent = true
    muc_room_locking = false
    max_history_messages = 1000

Component {bridge}
    component_secret = {secret}
"""


class Prosody:
    """An XMPP server on loopback, with all it knows in one folder.

    *newer* asks for the one of Debian's backports, on the libraries of the stable one.
    """

    def __init__(
        self, folder: Path, ports: Ports, secret: str, *, newer: bool = False
    ) -> None:
        self.name = "newer Prosody" if newer else "Prosody"
        self._newer = newer
        self.host = "xmpp.localhost"
        self.muc = "muc.localhost"
        self.component = "matrix.localhost"
        self.secret = secret
        self.c2s_port = ports.port("prosody-c2s")
        self.component_port = ports.port("prosody-component")
        self.web_port = ports.port("prosody-web")
        self._folder = folder

    def child(self) -> Child:
        """Write the configuration, and return the program that obeys it."""
        program = self._program()
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        (self._folder / "certs").mkdir(exist_ok=True)
        config = self._folder / "prosody.cfg.lua"
        config.write_text(
            CONFIG.format(
                folder=json.dumps(str(self._folder)),
                host=json.dumps(self.host),
                muc=json.dumps(self.muc),
                bridge=json.dumps(self.component),
                secret=json.dumps(self.secret),
                c2s=self.c2s_port,
                component=self.component_port,
                web=self.web_port,
            )
        )
        command: list[str | Path] = [program, "--config", config, "-F"]
        return Child(self.name, command, self._folder / "prosody.log")

    def ready(self) -> bool:
        """Tell whether clients and components can connect."""
        return answers(self.c2s_port) and answers(self.component_port)

    def _program(self) -> Path:
        debian.need({"prosody": "prosody"}, venvs.LOGS / "apt.log")
        if not self._newer:
            return Path(debian.find("prosody"))
        root = backports.unpacked()
        # Where its modules are stands in the program itself.
        program = self._folder / "prosody"
        self._folder.mkdir(parents=True, exist_ok=True)
        script = (root / "usr/bin/prosody").read_text()
        program.write_text(script.replace("'/usr/lib/", f"'{root}/usr/lib/"))
        program.chmod(0o700)
        return program
