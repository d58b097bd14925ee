"""From whatever Python there is to the environment that has the bridge."""

import os
import sys

from deploy.lab import venvs
from deploy.lab.words import LabError


def boot(module: str) -> None:
    """Become *module*, run by the environment of the bridge, with our arguments."""
    try:
        python = venvs.bridge()
    except LabError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(130)
    os.chdir(venvs.ROOT)
    command = [str(python), "-m", module, *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606 - our own environment's Python
