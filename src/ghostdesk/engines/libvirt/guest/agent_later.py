"""The agent, loaded, until this machine has been told whose desktop it is: it may be one of many copies."""

import os
import sys
import time

from ghostdesk.agent.__main__ import main

IDENTITY = "/run/ghost/identity"


def wait_for_identity() -> str:
    """The ghost's id, once it is there."""
    with open(os.environ["GHOSTDESK_DESKTOP"] + "/agent-loaded", "w"):  # noqa: PTH123 - no more modules than needed
        pass
    while True:
        try:
            with open(IDENTITY) as stream:  # noqa: PTH123
                return stream.read().strip()
        except OSError:
            time.sleep(0.1)


if __name__ == "__main__":
    os.environ["GHOSTDESK_GHOST"] = wait_for_identity()
    sys.exit(main())
