"""Start programs as children, wait until they are ready, and stop them by their id."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.lab.words import LabError, tail

START_S = 60.0
STOP_S = 10.0
POLL_S = 0.05


class Child:
    """A program that runs beside us, writing to a log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self.environment = {**os.environ, **(environment or {})}
        self._folder = folder
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the program that runs."""
        if self._running is None:
            raise LabError(f"{self.name} does not run", log=self.log)
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """How the program ended; None while it runs."""
        return None if self._running is None else self._running.poll()

    def start(self) -> None:
        """Start the program; whatever it says goes to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # A group of its own: Ctrl-C reaches us alone, and we end it in order.
            self._running = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self._folder,
                start_new_session=True,
            )

    def wait_ready(self, ready: Callable[[], bool], within_s: float = START_S) -> None:
        """Return when *ready* says so; raise if the program ends or is too slow."""
        deadline = time.monotonic() + within_s
        while not ready():
            if self.exit_code is not None:
                raise LabError(
                    f"{self.name} ended at once (exit code {self.exit_code}):"
                    f"\n{tail(self.log)}\n",
                    log=self.log,
                )
            if time.monotonic() > deadline:
                self.stop()
                raise LabError(
                    f"{self.name} was not ready within {within_s:.0f} s",
                    log=self.log,
                )
            time.sleep(POLL_S)

    def wait(self, within_s: float) -> int:
        """Wait until the program ends by itself; return its exit code."""
        if self._running is None:
            raise LabError(f"{self.name} does not run", log=self.log)
        try:
            return self._running.wait(within_s)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{self.name} still runs after {within_s} s", log=self.log
            ) from None

    def send(self, signal_number: signal.Signals) -> None:
        """Send the program a signal."""
        os.kill(self.pid, signal_number)

    def stop(self, within_s: float = STOP_S) -> None:
        """Ask the program to end, and end it if it takes too long."""
        if self._running is None or self._running.poll() is not None:
            return
        self._running.terminate()
        try:
            self._running.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program with all that it started, without asking."""
        if self._running is None or self._running.poll() is not None:
            return
        os.killpg(self._running.pid, signal.SIGKILL)
        self._running.wait()
