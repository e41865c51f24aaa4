"""relay.py connect|listen SOCKET: standard input and output are one end, a unix socket inside this container the other.

The control plane starts it through the API of Incus or LXD, for desktops on machines whose files it does not see. It
runs with Debian's Python and no library. `connect` waits until the socket is there; `listen` takes one connection.
"""

import os
import select
import socket
import sys
import time

BLOCK_BYTES = 65536
PATIENCE_S = 60.0


def connected(path: str) -> socket.socket:
    """Connect, waiting for a socket that is not there yet."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            attempt.connect(path)
            return attempt
        except OSError:
            attempt.close()
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def accepted(path: str) -> socket.socket | None:
    """The first connection; None when nobody is left who would want it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = f"{path}.{os.getpid()}"
    listener.bind(beside)
    os.chmod(beside, 0o600)  # noqa: PTH101 - no more modules than needed
    listener.listen(1)
    os.rename(beside, path)  # noqa: PTH104
    readable, _, _ = select.select([listener.fileno(), 0], [], [])
    if listener.fileno() not in readable:  # the control plane says nothing before somebody has connected: it went away
        return None
    taken, _ = listener.accept()
    listener.close()
    return taken


def copy(line: socket.socket) -> None:
    """Both ways, until one side ends."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    poller.register(line, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            block = os.read(descriptor, BLOCK_BYTES)
            if not block:
                return
            if descriptor == 0:
                line.sendall(block)
            else:
                while block:
                    block = block[os.write(1, block) :]


def main() -> int:
    """0 when both sides have ended in order."""
    how, path = sys.argv[1:]
    line = connected(path) if how == "connect" else accepted(path)
    if line is None:
        return 0
    try:
        copy(line)
    except OSError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
