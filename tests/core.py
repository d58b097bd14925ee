"""The real core, joined to whatever adapters a test has."""

import asyncio
from collections.abc import Mapping

from bridge.core.commands import Commands
from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.guard import Guard, Limits
from bridge.core.hub import Hub
from bridge.core.ports import Adapter, MatrixRooms, Store, XmppRooms
from bridge.core.provisioning import Provisioning
from bridge.model.places import Network

NO_LIMITS = Limits(requests_per_minute=0)


def join_core(  # noqa: PLR0913 - the parts are that many
    tasks: asyncio.TaskGroup,
    *,
    adapters: Mapping[Network, Adapter],
    store: Store,
    directory: Directory,
    matrix: MatrixRooms,
    xmpp: XmppRooms,
    limits: Limits = NO_LIMITS,
) -> tuple[Hub, Dispatch]:
    """Join the parts as the application does; nothing is started."""
    dispatch = Dispatch(adapters, store, directory, tasks)
    guard = Guard(limits)
    provisioning = Provisioning(store, directory, dispatch, matrix, xmpp, guard=guard)
    commands = Commands(
        adapters=adapters,
        store=store,
        directory=directory,
        dispatch=dispatch,
        provisioning=provisioning,
        matrix=matrix,
        xmpp=xmpp,
    )
    hub = Hub(
        adapters=adapters,
        store=store,
        directory=directory,
        dispatch=dispatch,
        provisioning=provisioning,
        commands=commands,
        tasks=tasks,
        guard=guard,
    )
    return hub, dispatch
