"""What an entity can do, and the hash that names it (XEP-0115)."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

_INFO: Final = "{http://jabber.org/protocol/disco#info}"
_FORM: Final = "{jabber:x:data}"
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_ALGORITHMS: Final = {
    "sha-1": "sha1",
    "sha-256": "sha256",
    "sha-512": "sha512",
}
FEATURES_MAX: Final = 500


def features(query: Element) -> frozenset[str]:
    """List the features that a disco#info result names."""
    found = (one.get("var", "") for one in query.iterfind(f"{_INFO}feature"))
    return frozenset(one for one in found if one)


def verification(query: Element, algorithm: str) -> str | None:
    """Hash a disco#info result; XEP-0115 §5.1. None if it is ill-formed (§5.4)."""
    name = _ALGORITHMS.get(algorithm)
    identities = [_identity(one) for one in query.iterfind(f"{_INFO}identity")]
    named = [one.get("var", "") for one in query.iterfind(f"{_INFO}feature")]
    if name is None or len(named) > FEATURES_MAX:
        return None
    if len(set(named)) != len(named) or len(set(identities)) != len(identities):
        return None
    forms = _forms(query)
    if forms is None:
        return None
    parts = [*sorted(identities), *sorted(named), *forms]
    text = "".join(f"{part}<" for part in parts)
    digest = hashlib.new(name, text.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _identity(one: Element) -> str:
    lang = one.get(_LANG, "")
    parts = (one.get("category", ""), one.get("type", ""), lang, one.get("name", ""))
    return "/".join(parts)


def _forms(query: Element) -> list[str] | None:
    by_type: dict[str, list[str]] = {}
    for form in query.iterfind(f"{_FORM}x"):
        kinds = [
            sorted(_values(one))
            for one in form.iterfind(f"{_FORM}field")
            if one.get("var") == "FORM_TYPE" and one.get("type") == "hidden"
        ]
        if not kinds:
            continue
        if len(set(kinds[0])) != 1 or kinds[0][0] in by_type:
            return None
        by_type[kinds[0][0]] = list(_fields(form))
    return [part for kind in sorted(by_type) for part in (kind, *by_type[kind])]


def _fields(form: Element) -> Iterator[str]:
    fields = [
        one
        for one in form.iterfind(f"{_FORM}field")
        if one.get("var", "FORM_TYPE") != "FORM_TYPE"
    ]
    for one in sorted(fields, key=lambda field: field.get("var", "")):
        yield one.get("var", "")
        yield from sorted(_values(one))


def _values(field: Element) -> list[str]:
    return [one.text or "" for one in field.iterfind(f"{_FORM}value")]
