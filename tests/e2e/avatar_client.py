"""XMPP clients that look at people, with stock slixmpp, in a process of their own.

As ``deploy.lab.xmpp_client``; in: ``{"who", "do": "watch", "to"}``, out:
``{"who", "kind": "looks", "text"}``, once what was told of has been fetched.
"""

import asyncio
import base64
import json
from typing import Any

from slixmpp import Message
from slixmpp.exceptions import IqError
from typing_extensions import override

from deploy.lab.xmpp_client import Client, Clients, Tell, main


class Onlooker(Client):
    """One device that shows what its contacts look like (XEP-0084)."""

    def __init__(self, jid: str, password: str, tell: Tell) -> None:
        super().__init__(jid, password, tell)
        self._jobs: set[asyncio.Task[None]] = set()
        for name in ("xep_0084", "xep_0115"):
            self.register_plugin(name)
        self.add_event_handler("avatar_metadata_publish", self._look)

    @property
    def _plugins(self) -> Any:  # noqa: ANN401 - every plugin has a type of its own
        return self.plugin

    def watch(self, to: str) -> None:
        """Be there for somebody, and say what is of interest."""
        task = asyncio.get_running_loop().create_task(self._watch(to))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _watch(self, to: str) -> None:
        await self._plugins["xep_0115"].update_caps(broadcast=False)
        self.send_presence(pto=to)

    async def _look(self, message: Message) -> None:
        item = message["pubsub_event"]["items"]["item"]
        told: dict[str, Any] = {"from": message["from"].bare, "id": ""}
        for info in item["avatar_metadata"]["items"]:
            told |= {name: info[name] for name in ("id", "type", "width", "height")}
            told["bytes"] = int(info["bytes"])
            told["data"] = await self._fetch(message["from"].bare, info["id"])
        self._tell("looks", json.dumps(told))

    async def _fetch(self, jid: str, number: str) -> str:
        try:
            answer = await self._plugins["xep_0084"].retrieve_avatar(jid, number)
        except IqError as error:
            return f"error: {error.condition}"
        data = answer["pubsub"]["items"]["item"]["avatar_data"]["value"]
        return base64.b64encode(data).decode()


class Onlookers(Clients):
    """All the devices of one process."""

    @override
    def make(self, order: dict[str, Any], tell: Tell) -> Client:
        return Onlooker(order["jid"], order["password"], tell)

    @override
    def obey(self, order: dict[str, Any]) -> None:
        if order["do"] != "watch":
            super().obey(order)
            return
        client = self._clients[order["who"]]
        assert isinstance(client, Onlooker)
        client.watch(order["to"])


if __name__ == "__main__":
    asyncio.run(main(Onlookers))
