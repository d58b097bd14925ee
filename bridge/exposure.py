"""Finds secrets that others could read or guess."""

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path

from bridge.config import Config

SECRET_CHARS_MIN = 20
TOKEN_CHARS_MIN = 20
DIFFERENT_MIN = 8

_FILES = ("config.toml", "registration.yaml", "seal.key", "bridge.db", "written.ring")


def risks(config: Config) -> list[str]:
    """Name every risk, and what to do about it."""
    return [*_guessable(config), *_readable(config.directory), *_overheard(config)]


def _guessable(config: Config) -> Iterator[str]:
    for key, value, chars_min in (
        ("xmpp.secret", config.xmpp.secret, SECRET_CHARS_MIN),
        ("appservice.as_token", config.appservice.as_token, TOKEN_CHARS_MIN),
        ("appservice.hs_token", config.appservice.hs_token, TOKEN_CHARS_MIN),
    ):
        if len(value) < chars_min or len(set(value)) < DIFFERENT_MIN:
            yield f"{key} can be guessed: `openssl rand -hex 32` makes a better one"


def _readable(directory: Path) -> Iterator[str]:
    for name in _FILES:
        file = directory / name
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        # The homeserver reads the registration as one of its group.
        open_to = stat.S_IRWXO if name == "registration.yaml" else 0o077
        if mode & open_to:
            yield f"{file} can be read by others: chmod 600 (or a group of its own)"


def _overheard(config: Config) -> Iterator[str]:
    host = config.xmpp.address.host
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if not near:
        yield (
            f"xmpp.address: what goes to {host} is clear text (XEP-0114): use a tunnel,"
            " or run the bridge beside the XMPP server"
        )
