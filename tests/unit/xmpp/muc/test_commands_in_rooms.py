"""Words to the bridge itself, in a room that we host."""

from bridge.model.delivery import Delivered
from bridge.model.events import Command, Rank
from tests.unit.xmpp.muc.test_messages import both, said
from tests.unit.xmpp.muc.world import JULIET, ROMEO, MucWorld

__all__ = ["both"]


async def test_a_command_is_obeyed_and_is_no_message_for_matrix(
    both: MucWorld,
) -> None:
    both.comes(said("!matrix devices", "m1"))
    await both.carried(Delivered())

    (event,) = both.events
    assert isinstance(event, Command)
    assert event.words == "devices"
    assert event.rank is Rank.GUEST
    ((_, reflection),) = both.host.sent_later
    await both.sends([reflection])
    shown = {one.get("to") for one in both.written() if one.get("id") == "m1"}
    assert shown == {JULIET, ROMEO}
