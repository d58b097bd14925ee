"""A Synapse of our own: SQLite, no federation, nothing limited."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.lab import venvs
from deploy.lab.children import Child
from deploy.lab.ports import HOST, Ports
from deploy.lab.words import LabError

# YAML is a superset of JSON: what is quoted by json.dumps is quoted for YAML.
CONFIG = """\
server_name: {server_name}
public_baseurl: {base_url}/
report_stats: false
pid_file: {folder}/synapse.pid
signing_key_path: {folder}/signing.key
log_config: {folder}/log.yaml
media_store_path: {folder}/media
database: {{name: sqlite3, args: {{database: {folder}/synapse.db}}}}
listeners:
  - port: {port}
    bind_addresses: [127.0.0.1]
    type: http
    tls: false
    resources: [{{names: [client], compress: false}}]
app_service_config_files: {registrations}
registration_shared_secret: {secret}
macaroon_secret_key: {secret}
form_secret: {secret}
bcrypt_rounds: 4
filter_timeline_limit: -1
# Nobody but us: no other server is ever asked or answered.
federation_domain_whitelist: []
trusted_key_servers: []
suppress_key_server_warning: true
# A test sends faster than a person.
rc_message: {free}
rc_registration: {free}
rc_login: {{address: {free}, account: {free}, failed_attempts: {free}}}
rc_joins: {{local: {free}, remote: {free}}}
rc_joins_per_room: {free}
rc_invites: {{per_room: {free}, per_user: {free}, per_issuer: {free}}}
rc_admin_redaction: {free}
rc_room_creation: {free}
rc_presence: {{per_user: {free}}}
"""
FREE = "{per_second: 100000, burst_count: 100000}"
LOGGING = """\
version: 1
formatters: {plain: {format: "%(asctime)s %(levelname)s %(name)s %(message)s"}}
handlers: {console: {class: logging.StreamHandler, formatter: plain}}
root: {level: WARNING, handlers: [console]}
"""
TIMEOUT_S = 20
PAUSE_S = 0.2


class Synapse:
    """A homeserver on loopback, with all it knows in one folder."""

    def __init__(self, folder: Path, ports: Ports, server_name: str) -> None:
        self.server_name = server_name
        self.registrations: list[Path] = []
        self._admin = ""
        self._folder = folder
        self._port = ports.port("synapse")
        self._secret_file = folder / "secret"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{HOST}:{self._port}"

    def child(self) -> Child:
        """Write the configuration, and return the program that obeys it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "homeserver.yaml"
        config.write_text(self._config())
        (self._folder / "log.yaml").write_text(LOGGING)
        key = self._folder / "signing.key"
        if not key.exists():
            seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            key.write_text(f"ed25519 a_lab {seed}\n")
        command: list[str | Path] = [
            venvs.synapse(),
            "-m",
            "synapse.app.homeserver",
            "-c",
            config,
        ]
        return Child("Synapse", command, self._folder / "synapse.log")

    def ready(self) -> bool:
        """Tell whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
        except OSError:
            return False

    def register(self, localpart: str, password: str, *, admin: bool = False) -> str:
        """Make a user, unless there is one; return the Matrix id.

        https://element-hq.github.io/synapse/latest/admin_api/register_api.html
        """
        path = "/_synapse/admin/v1/register"
        nonce = str(self._ask(path)["nonce"])
        words = [nonce, localpart, password, "admin" if admin else "notadmin"]
        mac = hmac.new(self._secret().encode(), "\0".join(words).encode(), hashlib.sha1)
        asked = {
            "nonce": nonce,
            "username": localpart,
            "password": password,
            "admin": admin,
            "mac": mac.hexdigest(),
        }
        self._ask(path, asked)
        return f"@{localpart}:{self.server_name}"

    def delete(self, room: str, **how: bool) -> None:
        """Delete a room as the admin of the server does, and wait until it is gone.

        https://element-hq.github.io/synapse/latest/admin_api/rooms.html
        """
        if not self._admin:
            user = self.register("admin", "secret", admin=True)
            asked = {"type": "m.login.password", "user": user, "password": "secret"}
            answer = self._ask("/_matrix/client/v3/login", asked)
            self._admin = str(answer["access_token"])
        path = f"/_synapse/admin/v2/rooms/{urllib.parse.quote(room)}"
        number = self._ask(path, how, "DELETE")["delete_id"]
        status = f"/_synapse/admin/v2/rooms/delete_status/{number}"
        deadline = time.monotonic() + TIMEOUT_S
        while (state := self._ask(status)["status"]) != "complete":
            if state == "failed" or time.monotonic() > deadline:
                raise LabError(f"Synapse does not delete {room}: {state}")
            time.sleep(PAUSE_S)

    def _config(self) -> str:
        return CONFIG.format(
            server_name=json.dumps(self.server_name),
            base_url=self.url,
            folder=self._folder,
            port=self._port,
            registrations=json.dumps([str(file) for file in self.registrations]),
            secret=self._secret(),
            free=FREE,
        )

    def _secret(self) -> str:
        if not self._secret_file.exists():
            self._secret_file.parent.mkdir(parents=True, exist_ok=True)
            self._secret_file.touch(mode=0o600)
            self._secret_file.write_text(secrets.token_hex(32))
        return self._secret_file.read_text()

    def _ask(
        self, path: str, content: Mapping[str, object] | None = None, method: str = ""
    ) -> dict[str, object]:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.url}{path}", data=body, method=method or None
        )
        if self._admin:
            request.add_header("Authorization", f"Bearer {self._admin}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            if answer.get("errcode") == "M_USER_IN_USE":
                return {}
            raise LabError(f"Synapse refused {path}: {answer}") from None
