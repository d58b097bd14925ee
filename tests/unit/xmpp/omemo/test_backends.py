import pytest
from oldmemo.oldmemo import BundleImpl as LegacyBundle
from twomemo.twomemo import BundleImpl as Omemo2Bundle

from bridge.xmpp.omemo import backends as module
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.backends import Spent, backends
from bridge.xmpp.omemo.names import LEGACY, OMEMO2
from bridge.xmpp.omemo.shelf import Shelf
from bridge.xmpp.omemo.used import Used
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.test_account import Nothing
from tests.unit.xmpp.omemo.world import ALICE, World


def test_omemo_2_comes_first() -> None:
    made = backends(Shelf("x", {}), Used(FakeStore()).pick)

    assert [one.namespace for one in made] == [OMEMO2, LEGACY]


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_no_two_of_ours_use_the_same_pre_key_of_somebody(
    world: World, namespace: str
) -> None:
    """They share what was read of it, and its owner forgets each with the first use."""
    place = 0 if namespace == OMEMO2 else 1
    made = await Account.open(ALICE, {}, Nothing(), "label")
    bundle = await made.versions[namespace].get_bundle(ALICE, made.id)
    assert isinstance(bundle, LegacyBundle | Omemo2Bundle)
    used = Used(FakeStore())

    chosen = []
    for number in range(len(bundle.bundle.pre_keys)):
        version = backends(Shelf(f"{number}", {}), used.pick)[place]
        _, key = await version.encrypt_empty()
        session, _ = await version.build_session_active(ALICE, made.id, bundle, key)
        assert isinstance(session, module._SESSIONS)
        chosen.append(session.key_exchange.header.pre_key)

    assert set(chosen) == bundle.bundle.pre_keys
    assert len(chosen) == 100


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_a_used_pre_key_is_offered_no_more(world: World, namespace: str) -> None:
    romeo = await world.person("r@x.example", namespace)
    before = await offered(world, namespace)

    await world.words(await romeo.seal(ALICE, "one", namespace=namespace))

    after = await offered(world, namespace)
    assert len(before) == len(after) == 100
    assert len(before - after) == 1


async def offered(world: World, namespace: str) -> set[str]:
    (name,) = [
        one
        for one in await world.omemo.nodes(ALICE)
        if "bundles" in one and one.startswith(namespace)
    ]
    ((_, bundle),) = await world.omemo.items(ALICE, name, "") or ()
    keys = bundle.children[-1]
    assert not isinstance(keys, str)
    return {str(key) for key in keys.children}


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_a_day_later_it_is_gone_for_good(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    romeo = await world.person("r@x.example", namespace)
    await world.words(await romeo.seal(ALICE, "one", namespace=namespace))
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None
    state = f"/{namespace}/x3dh"
    spent = Spent(account.shelf, namespace)
    before = account.shelf.get(state)["pre_keys"]

    monkeypatch.setattr(module, "SPENT_KEPT_S", -1)
    spent.forget()

    assert len(account.shelf.get(state)["pre_keys"]) == len(before) - 1
    assert spent.keys() == {}
