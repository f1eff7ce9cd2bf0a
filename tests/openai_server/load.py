"""How fast the server is: ``python -m openai_server.load [--seconds 5] [--connections 64]``.

Starts the server as a process and asks it over raw sockets, with requests made beforehand, so that
the load generator needs far less time than a client would. Prints requests a second, and requests
per second of the server's own CPU time, which other load on the machine does not change.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time
from dataclasses import dataclass

from .plan import Plan
from .process import serve_process

__all__ = ["drive", "request_bytes"]

_LENGTH = b"content-length: "


def request_bytes(path: str, body: object) -> bytes:
    """One POST of ``body`` as JSON."""
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode("ascii") + raw


@dataclass
class _Connection:
    """One socket, and what it has received of the answer under way."""

    socket: socket.socket
    received: bytes = b""

    def receive(self) -> bool:
        """Read what is there; whether the answer is whole."""
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.received += piece
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.decode("latin-1"))
        lowered = head.lower()
        start = lowered.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(lowered[start:].split(b"\r\n")[0]):
            return False
        self.received = b""
        return True


def drive(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[int, float]:
    """Send ``requests`` round and round; (answers, seconds that they took)."""
    selector = selectors.DefaultSelector()
    sent = done = 0
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    start = time.perf_counter()
    for one in opened:
        selector.register(one, selectors.EVENT_READ, _Connection(one))
        one.sendall(requests[sent % len(requests)])
        sent += 1
    while done < sent:
        for key, _ in selector.select():
            if not key.data.receive():
                continue
            done += 1
            if time.perf_counter() - start < seconds:
                key.data.socket.sendall(requests[sent % len(requests)])
                sent += 1
    taken = time.perf_counter() - start
    for one in opened:
        one.close()
    selector.close()
    return done, taken


def main() -> None:
    """Measure chat completions and embeddings."""
    parser = argparse.ArgumentParser(prog="openai_server.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args()
    chat = [
        request_bytes(
            "/v1/chat/completions",
            {
                "model": "gpt-3.5-turbo",
                "messages": [
                    {"role": "system", "content": "Answer with JSON."},
                    {"role": "user", "content": f"item {n}: " + "a word or two " * 25},
                ],
            },
        )
        for n in range(5000)
    ]
    embed = [
        request_bytes(
            "/v1/embeddings",
            {"model": "small", "input": [f"text {n}"], "encoding_format": "base64"},
        )
        for n in range(5000)
    ]
    with serve_process(Plan(embedding_models={"small": 256})) as server:
        for name, requests in (("chat", chat), ("embeddings", embed)):
            before = server.counters()["cpu_s"]
            done, taken = drive(server.port, requests, args.connections, args.seconds)
            cpu = server.counters()["cpu_s"] - before
            print(
                f"{name}: {done} answers in {taken:.2f} s = {done / taken:.0f} a second; "
                f"{done / cpu:.0f} per second of the server's CPU time"
            )


if __name__ == "__main__":
    main()
