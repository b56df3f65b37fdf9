"""No way out: sockets of this process reach its own machine alone.

conftest.py puts this folder on PYTHONPATH, so the processes that tests start have it too. Each
address that was asked for is noted in the file that ATTEMPTS names, and the test fails by it, also
where the code under test takes the error in its stride. It sees what Python's sockets do, and not
those of torch's C++ stores and gloo, which tests give 127.0.0.1.
"""

import os
import socket
import sys
from typing import Any

ATTEMPTS = "SSD_TESTS_ATTEMPTS"
EVENTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")


def is_own(host: Any) -> bool:
    """Whether an address or a name is this machine's; the path of a local socket is, too."""
    name = host.decode() if isinstance(host, bytes) else host
    own = ("", "localhost", "::1", "0.0.0.0", "::", socket.gethostname())
    return name is None or name in own or name.startswith(("127.", "/", "\0"))


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in EVENTS:
        return
    place = arguments[0] if event.startswith("socket.get") else arguments[1]
    host = place[0] if isinstance(place, tuple) else place
    if not is_own(host):
        if ATTEMPTS in os.environ:
            with open(os.environ[ATTEMPTS], "a") as file:
                file.write(f"{event} {host}\n")
        raise ConnectionRefusedError(f"tests have no network, and {host} was asked for")


sys.addaudithook(guard)
