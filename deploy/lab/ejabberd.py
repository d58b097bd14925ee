"""An ejabberd of our own, from Debian's package but never as its service.

Started as ``erl`` and not by ``ejabberdctl``: that one reads /etc unless every
setting is overridden (and then listens on all interfaces), and insists on its own
user. Without a node name there is neither epmd nor a distribution port.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from deploy.lab import backports, debian, venvs
from deploy.lab.children import Child
from deploy.lab.ports import Ports, answers
from deploy.lab.words import LabError

CONFIG = """\
hosts: [{host}]
loglevel: info
listen:
  - {{port: {c2s}, ip: "127.0.0.1", module: ejabberd_c2s, starttls: false,
     max_stanza_size: 1048576}}
  - {{port: {web}, ip: "127.0.0.1", module: ejabberd_http,
     request_handlers: {{/xmpp-websocket: ejabberd_http_ws}}}}
  - port: {component}
    ip: "127.0.0.1"
    module: ejabberd_service
    access: all
    shaper: none
    hosts: {{{bridge}: {{password: {secret}}}}}
# Nobody but us: what is not here is nowhere, at once.
s2s_access: none
auth_method: [internal]
auth_password_format: scram
default_db: mnesia
registration_timeout: infinity
acl: {{local: {{user_regexp: ""}}}}
access_rules:
  local: [{{allow: local}}]
modules:
  mod_adhoc: {{}}
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_mam: {{default: always}}
  mod_muc:
    host: {muc}
    access: all
    access_create: all
    access_persistent: all
    access_mam: all
    min_message_interval: 0
    min_presence_interval: 0
    user_message_shaper: none
    user_presence_shaper: none
    max_users: 2000
    default_room_options:
      mam: true
      persistent: true
      max_users: 2000
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_private: {{}}
  mod_pubsub: {{plugins: [flat, pep]}}
  mod_register: {{ip_access: all, password_strength: 0}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
  mod_vcard: {{}}
  mod_version: {{}}
"""


class Ejabberd:
    """An XMPP server on loopback, with all it knows in one folder.

    *newer* asks for the one of Debian's backports, with libraries of its own before
    those of the stable one.
    """

    def __init__(
        self, folder: Path, ports: Ports, secret: str, *, newer: bool = False
    ) -> None:
        self.name = "newer ejabberd" if newer else "ejabberd"
        self._newer = newer
        self.host = "xmpp.localhost"
        self.muc = "muc.localhost"
        self.component = "matrix.localhost"
        self.secret = secret
        self.c2s_port = ports.port("ejabberd-c2s")
        self.component_port = ports.port("ejabberd-component")
        self.web_port = ports.port("ejabberd-web")
        self._folder = folder

    def child(self) -> Child:
        """Write the configuration, and return the program that obeys it."""
        debian.need(
            {"ejabberd": "ejabberdctl", "erlang-base": "erl"}, venvs.LOGS / "apt.log"
        )
        mnesia = self._folder / "mnesia"
        mnesia.mkdir(parents=True, exist_ok=True)
        config = self._folder / "ejabberd.yml"
        config.write_text(
            CONFIG.format(
                host=json.dumps(self.host),
                muc=json.dumps(self.muc),
                bridge=json.dumps(self.component),
                secret=json.dumps(self.secret),
                c2s=self.c2s_port,
                component=self.component_port,
                web=self.web_port,
            )
        )
        command: list[str | Path] = [debian.find("erl"), "-noinput"]
        command += ["-mnesia", "dir", json.dumps(str(mnesia)), "-s", "ejabberd"]
        return Child(
            self.name,
            command,
            self._folder / "console.log",
            environment={
                "ERL_LIBS": os.pathsep.join(map(str, self._libraries())),
                "EJABBERD_CONFIG_PATH": str(config),
                "EJABBERD_LOG_PATH": str(self._folder / "ejabberd.log"),
                "ERL_CRASH_DUMP": os.devnull,
                "HOME": str(self._folder),
            },
            folder=self._folder,
        )

    def ready(self) -> bool:
        """Tell whether clients and components can connect."""
        return answers(self.c2s_port) and answers(self.component_port)

    def _libraries(self) -> Sequence[Path]:
        if not self._newer:
            return [_library(Path("/usr/lib"))]
        usr = backports.unpacked() / "usr" / "lib"
        return [_library(usr), usr / "erlang" / "lib"]


def _library(usr: Path) -> Path:
    for pattern in ("*/ejabberd-*/ebin", "ejabberd-*/ebin"):
        for ebin in sorted(usr.glob(pattern)):
            return ebin.parents[1]
    raise LabError(f"The library of ejabberd was not found under {usr}")
