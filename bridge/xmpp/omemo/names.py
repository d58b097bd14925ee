"""The namespaces and PEP nodes of OMEMO, as clients use them and as XEP-0384 has it."""

from typing import Final

LEGACY: Final = "eu.siacs.conversations.axolotl"
OMEMO2: Final = "urn:xmpp:omemo:2"
NAMESPACES: Final = (OMEMO2, LEGACY)
"""In the order in which we use them, if a device can read both."""

LEGACY_DEVICES: Final = f"{LEGACY}.devicelist"
LEGACY_BUNDLES: Final = f"{LEGACY}.bundles:"
OMEMO2_DEVICES: Final = f"{OMEMO2}:devices"
OMEMO2_BUNDLES: Final = f"{OMEMO2}:bundles"
CURRENT: Final = "current"

DEVICES_NODES: Final = {LEGACY: LEGACY_DEVICES, OMEMO2: OMEMO2_DEVICES}
DEVICES_MAX: Final = 50
DEVICE_ID_MAX: Final = 2**31 - 1

PUBLISHED_ROW: Final = "pep"
"""The row of an account in which all lies that it publishes."""


def owner(account: str) -> str:
    """Name whose secrets an account's are."""
    return f"omemo {account}"


def bundle_item(namespace: str, device: int) -> tuple[str, str]:
    """Name the node and the item where a device keeps its bundle."""
    if namespace == LEGACY:
        return f"{LEGACY_BUNDLES}{device}", CURRENT
    return OMEMO2_BUNDLES, str(device)


def namespace_of(node: str) -> str | None:
    """Tell to which namespace a PEP node belongs; None if it is not OMEMO's."""
    if node == LEGACY_DEVICES or node.startswith(LEGACY_BUNDLES):
        return LEGACY
    if node in (OMEMO2_DEVICES, OMEMO2_BUNDLES):
        return OMEMO2
    return None
