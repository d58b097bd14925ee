"""The demonstration: three servers start, people talk, and you may join them."""

import argparse
import asyncio
import contextlib
import fcntl
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.lab.children import Child
from deploy.lab.gateway import Gateway
from deploy.lab.play import PASSWORD, play
from deploy.lab.ports import HOST, Ports
from deploy.lab.prosody import Prosody
from deploy.lab.synapse import Synapse
from deploy.lab.venvs import STATE
from deploy.lab.words import LabError, say

SERVER_NAME = "hs.localhost"
COMPONENT_SECRET = "demo-on-loopback-only"
FOLDER = STATE / "demo"
INTERRUPTED = 130


def main() -> None:
    """Run the demonstration, and exit."""
    parsed = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(_demonstrate(once=parsed.once, fresh=parsed.fresh))
    except LabError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/demo",
        description="Set up the bridge with a Synapse and a Prosody of its own, all on"
        " loopback, and show it at work. State is kept in .state/demo.",
    )
    parser.add_argument(
        "--once", action="store_true", help="end after the conversation"
    )
    parser.add_argument("--fresh", action="store_true", help="start over")
    return parser


def _demonstrate(*, once: bool, fresh: bool) -> int:
    with _alone(), contextlib.ExitStack() as running:
        if fresh:
            shutil.rmtree(FOLDER, ignore_errors=True)
        ports = Ports(FOLDER / "ports.json")
        synapse = Synapse(FOLDER / "synapse", ports, SERVER_NAME)
        prosody = Prosody(FOLDER / "prosody", ports, COMPONENT_SECRET)
        gateway = Gateway(
            Path(sys.executable), FOLDER / "bridge", ports, synapse, prosody
        )
        children = _start(running, synapse, prosody, gateway)
        missing = asyncio.run(play(synapse, prosody))
        if missing:
            say(f"\n{missing} of these lines did not arrive as they should.")
            say(f"The logs are in {FOLDER}; --fresh starts over.")
        else:
            say("\nEvery line arrived where and as it should.")
        if once:
            return 1 if missing else 0
        _invite(synapse, prosody)
        _watch(children)
        return 0


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    STATE.mkdir(exist_ok=True)
    with (STATE / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabError(
                "The demonstration runs already", "Stop that one first (Ctrl-C)"
            ) from None
        yield


def _start(
    running: contextlib.ExitStack, synapse: Synapse, prosody: Prosody, gateway: Gateway
) -> list[Child]:
    began = time.monotonic()
    if not gateway.config.exists():
        say("Writing the bridge's configuration (xmpp-matrix-bridge init) …")
        gateway.init()
    synapse.registrations = [gateway.registration]
    children = []
    for server, words in (
        (prosody, "Starting Prosody, the XMPP server …"),
        (synapse, "Starting Synapse, the Matrix homeserver …"),
    ):
        say(words)
        child = server.child()
        running.callback(child.stop)
        child.start()
        child.wait_ready(server.ready)
        children.append(child)
    say("Trying everything (xmpp-matrix-bridge check) …")
    gateway.check()
    say("Starting the bridge (xmpp-matrix-bridge run) …")
    bridge = gateway.child()
    running.callback(bridge.stop)
    bridge.start()
    bridge.wait_ready(gateway.ready)
    say(f"All is up after {time.monotonic() - began:.1f} s.")
    return [*children, bridge]


def _invite(synapse: Synapse, prosody: Prosody) -> None:
    domain = prosody.component
    say(f"""
Now it is your turn. Log in with clients of your own:

  Matrix (Element, …)   homeserver {synapse.url}
                        user alice, password {PASSWORD}
  XMPP (Gajim, Dino, …) juliet@{prosody.host}, password {PASSWORD}
                        server {HOST}, port {prosody.c2s_port}, no encryption

  As Juliet, write to   alice_{SERVER_NAME}@{domain}
         or join        #piazza#{SERVER_NAME}@{domain}
  As Alice, invite      @_xmpp_juliet=40{prosody.host}:{SERVER_NAME}
         or join        #_xmpp_balcony_{prosody.muc}:{SERVER_NAME}
                        (the MUC balcony@{prosody.muc})

The logs are in {FOLDER}. Ctrl-C stops all of it.""")


def _watch(children: list[Child]) -> None:
    while True:
        for child in children:
            if child.exit_code is not None:
                raise LabError(f"{child.name} has ended", log=child.log)
        time.sleep(1)


if __name__ == "__main__":
    main()
