"""Meets the database and the homeserver, and says in one line why the bridge ends."""

import asyncio
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from bridge.config import Config
from bridge.core.ports import StoreUnavailableError
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.store.errors import AlreadyRunningError, StoreError, SupersededError
from bridge.store.space import Floor
from bridge.store.store import SqlStore

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0

CONFIG, HOMESERVER, XMPP_AWAY, XMPP_REFUSES, SECOND, DATABASE, SUPERSEDED, FAULT = (
    *range(2, 9),
    70,
)


class StartError(Exception):
    """The bridge cannot start; one line that says why, and an exit code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def complain(error: Exception) -> int:
    """Say in one line why we end, and return the exit code."""
    ends = [_end(cause) for cause in _causes(error)]
    # What has a code of its own says more than what broke along with it.
    end = next((end for end in ends if end.code != FAULT), ends[0])
    print(f"xmpp-matrix-bridge: {end}", file=sys.stderr)
    return end.code


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    else:
        yield error


def _end(cause: BaseException) -> StartError:
    if isinstance(cause, StartError):
        return cause
    if isinstance(cause, SupersededError):
        return StartError(
            SUPERSEDED,
            "another instance has taken over the database, so this one ends: see to"
            " it that only one is started",
        )
    if isinstance(cause, StoreError | StoreUnavailableError):
        return StartError(DATABASE, f"the database cannot be used: {cause}")
    logger.error("a part of the bridge failed", exc_info=cause)
    name = type(cause).__name__
    return StartError(FAULT, f"a fault of the bridge ({name}): see the log, report it")


async def open_store(config: Config) -> SqlStore:
    """Open the database; raises ``StartError``."""
    try:
        return await SqlStore.open(
            config.database_url(),
            config.store.seal_key(),
            Floor(config.store.free_percent_min, config.store.free_megabytes_min),
        )
    except AlreadyRunningError as error:
        raise StartError(SECOND, str(error)) from None
    except (StoreError, StoreUnavailableError) as error:
        raise StartError(DATABASE, str(error)) from None
    except OSError as error:
        raise StartError(DATABASE, of_file(error)) from None


async def meet_homeserver(homeserver: Homeserver, url: str) -> None:
    """Wait a little for the homeserver to know us; raises ``StartError``."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left_s = max(deadline - time.monotonic(), 1.0)
        path = join("account", "whoami")
        try:
            answer = await homeserver.request("GET", path, timeout_s=left_s)
        except MatrixError as error:
            if not error.retry_after_s:
                raise StartError(HOMESERVER, _of_refusal(error)) from None
            why = str(error)
        except HomeserverDownError as error:
            why = str(error)
        else:
            check_name(answer, homeserver.server_name)
            return
        if time.monotonic() > deadline:
            raise StartError(
                HOMESERVER,
                f"the homeserver cannot be reached at {url}: {why}; does it run, and"
                " is homeserver.url right?",
            )
        await asyncio.sleep(0.5)


def check_name(whoami: Mapping[str, Any], name: str) -> None:
    """See that the homeserver has the name we believe; raises ``StartError``."""
    server = str(whoami.get("user_id", "")).partition(":")[2]
    if server != name:
        raise StartError(
            CONFIG,
            f"homeserver.name: the homeserver is called {server!r}, not {name!r}: run"
            " init again with that name",
        )


def _of_refusal(error: MatrixError) -> str:
    if error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"the homeserver answers {error}; is homeserver.url right?"
    return (
        f"the homeserver refuses our as_token ({error}); does it use the"
        " registration.yaml beside the configuration, and was it restarted?"
    )


def of_file(error: OSError) -> str:
    """Say which file cannot be written."""
    where = error.filename or "a file beside the configuration"
    return f"{where}: cannot be written: {error.strerror}"
