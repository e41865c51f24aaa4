"""``python3 -m ghostdesk.agent``, started by the engine inside each desktop. The environment says where it is."""

import os
import sys

from ghostdesk.agent.agent import Agent, Place
from ghostdesk.agent.screen import NoDisplay


def main() -> int:
    """Returns 0 when the X server ended, 2 when the agent cannot work here."""
    try:
        Agent(Place.of(os.environ)).run()
    except KeyError as missing:
        print(f"The agent needs {missing} in its environment.", file=sys.stderr)  # noqa: T201
        return 2
    except NoDisplay as problem:
        print(f"The agent cannot use the display: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
