"""A relay before a real server, which can be away, slow, answer 500, or cut the line while a client is sending.

It passes bytes on in both directions, so that HTTP, its upgrades and PostgreSQL's own language come through alike. It
counts pieces: what a client sends at once, up to 64 KiB.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Literal

Fault = Literal["away", "slow", "silent", "500", "cut"]
_CHUNK = 1 << 16
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfault"
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER without waiting: closing resets the connection


class Relay:
    """A relay to `port` of this machine. Sound until `spoil` is called.

    Attributes:
        pieces: how many came since it was spoiled or mended.
        spoiled: how many of them met the fault.
    """

    def __init__(self, port: int) -> None:
        self.pieces = self.spoiled = 0
        self._upstream = port
        self._fault: Fault | None = None
        self._first, self._seconds = 0, 0.0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, fault: Fault, first: int = 0, seconds: float = 0.0) -> None:
        """Pass `first` pieces on; every later one meets a fault. `seconds` is how long a slow one waits."""
        self.pieces = self.spoiled = 0
        self._fault, self._first, self._seconds = fault, first, seconds

    def mend(self) -> None:
        """Be sound again, and count anew."""
        self._fault, self.pieces = None, 0

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._upstream)) as server:
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            while data := client.recv(_CHUNK):
                if (fault := self._meets()) is None or fault == "slow":
                    server.sendall(data)
                    continue
                if fault == "silent":
                    continue
                if fault == "500":
                    client.sendall(_ERROR)
                    client.shutdown(socket.SHUT_WR)
                    time.sleep(0.1)  # what the client still sends must not turn the answer into a reset
                else:
                    if fault == "cut":
                        server.sendall(data[: len(data) // 2])
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    server.shutdown(socket.SHUT_RDWR)  # closing alone would leave it to the thread that reads there
                return

    def _meets(self) -> Fault | None:
        """The fault that a piece meets; waits where it is slowness."""
        with self._lock:
            self.pieces += 1
            if self._fault is None or self.pieces <= self._first:
                return None
            self.spoiled += 1
        if self._fault == "slow":
            time.sleep(self._seconds)
        return self._fault


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relaying(port: int) -> Iterator[Relay]:
    """A relay for the length of a block."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
