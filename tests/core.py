"""The real core, joined to whatever adapters a test has."""

import asyncio
from collections.abc import Mapping

from bridge.core.commands import Commands
from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.ports import Adapter, MatrixRooms, Store, XmppRooms
from bridge.core.provisioning import Provisioning
from bridge.model.places import Network


def join_core(
    tasks: asyncio.TaskGroup,
    *,
    adapters: Mapping[Network, Adapter],
    store: Store,
    directory: Directory,
    matrix: MatrixRooms,
    xmpp: XmppRooms,
) -> tuple[Hub, Dispatch]:
    """Join the parts as the application does; nothing is started."""
    dispatch = Dispatch(adapters, store, directory, tasks)
    provisioning = Provisioning(store, directory, dispatch, matrix, xmpp)
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
    )
    return hub, dispatch
