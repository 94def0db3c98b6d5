"""A shop's server that receives webhooks: real HTTP on a real port, which answers as the test says and keeps what it was sent."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEADLINE_S = 15
Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Received:
    """One request: its path, its headers in lower case, its body as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Verify as a receiver does, from the words of the scheme and with none of our code."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """The server.  `behave` answers each request; it may be exchanged at any time."""

    behave: Behaviour
    received: list[Received] = field(default_factory=list)
    port: int = 0
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/webhooks", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.received]

    def types(self) -> list[str]:
        return [each.event["type"] for each in self.received]

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + DEADLINE_S
        while len(self.received) < count:
            assert time.monotonic() < until, f"{count} requests were awaited, {len(self.received)} came"
            self.may_go_on.wait(0.01)


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave as each says, one request after the other; as the last one for ever."""
    left = list(behaviours)

    def behave(request: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


@contextmanager
def receiver(behave: Behaviour | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver that says 204, or whatever else it is told to."""
    ours = Receiver(behave or answer(204))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ours.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            ours.behave(self)

        def do_GET(self) -> None:
            ours.received.append(Received(self.path, {}, b""))

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_arguments: Any) -> None:
            """Whoever hung up has his reasons."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    ours.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ours
    finally:
        ours.may_go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
