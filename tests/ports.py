"""A port for a server that a test starts."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port of this machine that nobody uses.

    Not of those that the system gives to clients by itself, with Linux from 32768 on: one of them
    could be taken before the server has come up, since tests run side by side.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
