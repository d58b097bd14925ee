from bridge.xmpp.omemo import names


def test_a_legacy_bundle_has_a_node_of_its_own() -> None:
    assert names.bundle_item(names.LEGACY, 7) == (
        "eu.siacs.conversations.axolotl.bundles:7",
        "current",
    )


def test_bundles_of_omemo_2_share_a_node() -> None:
    """XEP-0384 §5.3.2: the item id MUST be set to the device id."""
    assert names.bundle_item(names.OMEMO2, 7) == ("urn:xmpp:omemo:2:bundles", "7")


def test_a_node_tells_its_version() -> None:
    assert names.namespace_of("eu.siacs.conversations.axolotl.bundles:7") == (
        names.LEGACY
    )
    assert names.namespace_of("eu.siacs.conversations.axolotl.devicelist") == (
        names.LEGACY
    )
    assert names.namespace_of("urn:xmpp:omemo:2:devices") == names.OMEMO2
    assert names.namespace_of("urn:xmpp:avatar:metadata") is None
