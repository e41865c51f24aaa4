"""relay.py PORT SOCKET: the agent's unix socket inside, on a serial port to the host. Debian's Python, no library.

The host's end of the port connects to the control plane's socket and connects anew when that was away. Each time one
side ends, the other is ended too, so that both begin afresh.
"""

import os
import select
import socket
import sys
import time

BLOCK_BYTES = 65536


def copy(port: int, agent: socket.socket) -> None:
    """Both ways, until one side ends."""
    poller = select.poll()
    poller.register(port, select.POLLIN)
    poller.register(agent, select.POLLIN)
    while True:
        for descriptor, what in poller.poll():
            if what & (select.POLLHUP | select.POLLERR) and not what & select.POLLIN:
                return
            block = os.read(descriptor, BLOCK_BYTES)
            if not block:
                return
            if descriptor == port:
                agent.sendall(block)
            else:
                while block:
                    block = block[os.write(port, block) :]


def host_is_there(port: int) -> bool:
    """A port whose other end is not connected says that it is hung up."""
    poller = select.poll()
    poller.register(port, 0)
    return not any(what & select.POLLHUP for _, what in poller.poll(0))


def main() -> int:
    """Serve one agent after another, for ever."""
    path, where = sys.argv[1:]
    if os.path.exists(where):  # noqa: PTH110 - no more modules than needed
        os.unlink(where)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(where)
    os.chown(where, 1000, 1000)
    os.chmod(where, 0o600)  # noqa: PTH101
    listener.listen(1)
    while True:
        agent, _ = listener.accept()
        port = os.open(path, os.O_RDWR)
        try:
            while not host_is_there(port):
                time.sleep(0.1)
            copy(port, agent)
        except OSError as problem:
            print(f"relay: {problem}", file=sys.stderr)  # noqa: T201
        finally:
            os.close(port)
            agent.close()


if __name__ == "__main__":
    sys.exit(main())
