"""config.toml as frozen dataclasses; every error names its key and the remedy.

A secret may stand in the file, in a file of its own (``secret_file = "path"``) or in
the environment (``XMPP_MATRIX_BRIDGE_XMPP_SECRET``), the last of which wins.
"""

import base64
import binascii
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

ENVIRONMENT = "XMPP_MATRIX_BRIDGE_"
SEAL_KEY_BYTES = 32


class ConfigError(Exception):
    """The configuration is wrong; the message names the setting and the remedy."""


class Secret(str):
    """A string that does not print."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return "<secret>"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeserverConfig:
    """The homeserver: its name, as in ``@user:name``, and where its API answers."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppserviceConfig:
    """How the homeserver and the bridge know and reach each other."""

    as_token: Secret
    hs_token: Secret
    listen: Address
    url: str = ""
    id: str = "xmpp"
    bot: str = "xmppbot"


@dataclass(frozen=True, slots=True, kw_only=True)
class XmppConfig:
    """The component at the XMPP server."""

    component: str
    address: Address
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where the bridge keeps its memory, and the key that seals it.

    When less than both minima is free on its disk, nothing more is taken in.
    """

    key: Secret
    database: str = "sqlite:///bridge.db"
    free_percent_min: int = 5
    free_megabytes_min: int = 500

    def seal_key(self) -> bytes:
        """Decode the key: 32 bytes in base64."""
        try:
            raw = base64.b64decode(self.key, validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != SEAL_KEY_BYTES:
            raise ConfigError(
                "store.key: should be 32 bytes in base64;"
                " `openssl rand -base64 32` makes one"
            )
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is written to standard error."""

    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What people may ask for, and how often; see ``core.guard``."""

    requests_per_minute: int = 120
    messages_per_minute: int = 0
    room_members_max: int = 5_000
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionConfig:
    """What is encrypted, for whom, and what may leave in the clear."""

    default: bool = True
    strict: bool = False
    omemo: bool = True
    plaintext: str = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file; *directory* is where it lies."""

    homeserver: HomeserverConfig
    appservice: AppserviceConfig
    xmpp: XmppConfig
    store: StoreConfig
    log: LogConfig = field(default_factory=LogConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    encryption: EncryptionConfig = field(default_factory=EncryptionConfig)
    directory: Path = Path()

    def database_url(self) -> str:
        """Name the database; a relative SQLite file lies beside the configuration."""
        prefix = "sqlite:///"
        path = self.store.database.removeprefix(prefix)
        if path == self.store.database or Path(path).is_absolute():
            return self.store.database
        return f"{prefix}{self.directory.resolve() / path}"


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check the file at *path*; raises ``ConfigError``."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; `xmpp-matrix-bridge init DIR` makes one"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    return parse(document, path.parent, environment)


def parse(
    document: Mapping[str, Any], directory: Path, environment: Mapping[str, str]
) -> Config:
    """Check what a configuration file says; raises ``ConfigError``."""
    sections = {"homeserver": HomeserverConfig, "appservice": AppserviceConfig}
    sections |= {"xmpp": XmppConfig, "store": StoreConfig, "log": LogConfig}
    sections |= {"limits": LimitsConfig, "encryption": EncryptionConfig}
    for name in document:
        if name not in sections:
            raise ConfigError(f"{name}: there is no such section")
    read = _Reader(directory, environment)
    parts = {
        name: read.section(kind, name, document.get(name, {}))
        for name, kind in sections.items()
    }
    config = Config(directory=directory, **parts)
    _check(config)
    return config


def address(text: str) -> Address:
    """Read ``host:port``; raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    known = colon and _is_host(host) and port.isdigit()
    if not known or not 0 < int(port) < 1 << 16:
        raise ValueError(f"should be host:port, is {text!r}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _is_host(name: str) -> bool:
    """Tell whether *name* can be looked up at all: nobody who does so says why not."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


class _Reader:
    """Turns tables into dataclasses."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    def section(self, kind: Callable[..., Any], name: str, table: object) -> Any:  # noqa: ANN401 - one of six dataclasses
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name}: should be a section, [{name}]")
        known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
        for key in table:
            plain = key.removesuffix("_file")
            secret = plain in known and known[plain].type is Secret
            if key not in known and not secret:
                raise ConfigError(f"{name}.{key}: there is no such setting")
        values = {}
        for item in known.values():
            value = self._value(name, item, table)
            if value is not None:
                values[item.name] = value
            elif item.default is MISSING:
                raise ConfigError(f"{name}.{item.name}: missing")
        return kind(**values)

    def _value(
        self, section: str, item: "Field[Any]", table: Mapping[str, Any]
    ) -> object:
        key = f"{section}.{item.name}"
        value = table.get(item.name)
        if item.type is Secret:
            value = self._secret(section, item.name, table)
        if value is None:
            return None
        if item.type in _PLAIN:
            return _PLAIN[item.type](key, value)
        if not isinstance(value, str):
            raise ConfigError(f"{key}: should be a string, is {type(value).__name__}")
        if item.type is Address:
            try:
                return address(value)
            except ValueError as error:
                raise ConfigError(f"{key}: {error}") from None
        return Secret(value) if item.type is Secret else value

    def _secret(self, section: str, name: str, table: Mapping[str, Any]) -> object:
        variable = f"{ENVIRONMENT}{section}_{name}".upper()
        if variable in self._environment:
            return self._environment[variable]
        file = table.get(f"{name}_file")
        if file is None:
            return table.get(name)
        try:
            return (self._directory / str(file)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            setting = f"{section}.{name}"
            remedy = _REMEDIES.get(setting, "")
            raise ConfigError(
                f"{setting}_file: cannot be read: {error}{remedy}"
            ) from None


def _count(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{key}: should be a number, 0 for no limit, is {value!r}")
    return value


def _names(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise ConfigError(f'{key}: should be a list of names, as ["spam.example"]')
    return tuple(value)


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: should be true or false, is {value!r}")
    return value


_REMEDIES = {
    "store.key": (
        "; put it back from your backup: without it what is in the database cannot be"
        " read, nor the bridge's devices used"
    ),
}

_PLAIN: dict[object, Callable[[str, object], object]] = {
    int: _count,
    bool: _switch,
    tuple[str, ...]: _names,
}


def web_address(text: str) -> str:
    """Read a URL; raises ``ValueError``."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and _is_host(parts.hostname or "")
        port, named = parts.port, "@" in parts.netloc
    except ValueError:
        known, port, named = None, None, False
    if known and named:
        raise ValueError("should be http(s)://host[:port], without user and password")
    if not known or port == 0:
        raise ValueError(f"should be http(s)://host[:port], is {text!r}")
    return text


def domain(text: str) -> str:
    """Read the name of a server; raises ``ValueError``."""
    if not text or set(text) & set(" /@_#*?") or text != text.lower():
        raise ValueError(f"should be a domain in lower case, is {text!r}")
    return text


def component(text: str) -> str:
    """Read the domain of a component, which is a JID's; raises ``ValueError``."""
    labels = domain(text).split(".")
    whole = all(label and label.strip("-") == label for label in labels)
    if not whole or ":" in text or not text.isprintable() or not _is_host(text):
        raise ValueError(f"should be a domain in lower case, is {text!r}")
    return text


def database(text: str) -> str:
    """Read where a database is; raises ``ValueError``."""
    try:
        known = text.startswith(("sqlite:///", "postgresql")) and urlsplit(text).port
    except ValueError:
        known = False
    if known is False:
        raise ValueError("should be sqlite:///FILE or postgresql://USER@HOST/NAME")
    return text


def _token(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("should be letters and digits, as `init` makes it")
    return text


def _level(text: str) -> str:
    if text not in ("debug", "info", "warning", "error"):
        raise ValueError("should be debug, info, warning or error")
    return text


def _plaintext(text: str) -> str:
    if text not in ("ask", "allow"):
        raise ValueError("should be ask or allow")
    return text


def _secret(text: str) -> str:
    if not text:
        raise ValueError("should not be empty")
    return text


def _check(config: Config) -> None:
    """Check what no type can say."""
    for key, read, value in (
        ("homeserver.name", domain, config.homeserver.name),
        ("homeserver.url", web_address, config.homeserver.url),
        ("appservice.url", web_address, config.appservice.url or "http://unset"),
        ("appservice.as_token", _token, config.appservice.as_token),
        ("appservice.hs_token", _token, config.appservice.hs_token),
        ("xmpp.component", component, config.xmpp.component),
        ("xmpp.secret", _secret, config.xmpp.secret),
        ("store.database", database, config.store.database),
        ("log.level", _level, config.log.level),
        ("encryption.plaintext", _plaintext, config.encryption.plaintext),
    ):
        try:
            read(value)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
    config.store.seal_key()
