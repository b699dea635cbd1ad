"""A lean HTTP client in its own process: requests are prepared, answers barely parsed. Closed loop, or paced.

python -m bench.client < order.json    prints the result
"""

import asyncio
import sys
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import uvloop

from bench.bodies import MARK

DRAIN = 10.0
"""Seconds to wait for the last answers."""


class Order(msgspec.Struct, frozen=True):
    """What to post; MARK in the body is replaced by a different key in each request."""

    url: str
    headers: dict[str, str]
    body: str
    connections: int
    seconds: float
    count: int | None = None
    """Maximum number of requests."""
    rate: float | None = None
    """Requests per second, sent when they are due even if others are not answered; None: as fast as answers arrive."""


class Load(msgspec.Struct, frozen=True):
    """The result of a load."""

    done: int
    """Number of answers of any status."""
    failed: int
    """Number of answers that were not 2xx, and of connections that broke."""
    seconds: float
    generator_cpu: float = 0.0
    """Share of a core that posting took; near 1, the generator itself was measured."""

    @property
    def per_second(self) -> float:
        return self.done / self.seconds


class _Connection(asyncio.Protocol):
    """A connection with one request at a time; it calls `free` after each answer."""

    def __init__(self, posts: "_Posts") -> None:
        self._posts = posts
        self._rest = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's isn't one by name
        self._posts.free(self)

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + _length(data[:end]):
            self._rest = data
            return
        self._rest = b""
        self._posts.answered(data[9:10] == b"2")
        self._posts.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._posts.lost()


def _length(head: bytes) -> int:
    length = head.lower().partition(b"content-length:")[2]
    return int(length.partition(b"\r\n")[0] or 0)


class _Posts:
    """The requests still to be sent, the free connections, and the numbers of answers."""

    def __init__(self, order: Order) -> None:
        parts = urlsplit(order.url)
        lines = [f"POST {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in order.headers.items()]
        body = order.body.encode()
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
        before, mark, after = (head + body).partition(MARK.encode())
        self._pieces = (before, after)
        self._marked = bool(mark)
        self._prefix = uuid4().hex[:22]
        self._order = order
        self._free: deque[_Connection] = deque()
        self._due = 0
        self._sent = 0
        self.done = self.bad = self.broken = 0
        self.stopped = False
        self.over = asyncio.Event()

    def free(self, connection: _Connection) -> None:
        if self._order.rate is None:
            self._due += 1
        self._free.append(connection)
        self._pump()

    def due(self, until_now: int) -> None:
        """Send what is due: `until_now` requests in all."""
        self._due = until_now - self._sent
        self._pump()

    def answered(self, is_ok: bool) -> None:
        self.done += 1
        self.bad += not is_ok

    def lost(self) -> None:
        """Count a broken connection, unless we are closing them."""
        if not self.over.is_set():
            self.broken += 1
            self.stop()

    def stop(self) -> None:
        """Send nothing more; `over` is set once everything is answered."""
        self.stopped = True
        self._pump()

    def _pump(self) -> None:
        while not self.stopped and self._due > 0 and self._free:
            self._free.popleft().send(self._request())
            self._due -= 1
            self._sent += 1
            self.stopped = self._sent == self._order.count
        if self.stopped and self.done + self.broken >= self._sent:
            self.over.set()

    def _request(self) -> bytes:
        before, after = self._pieces
        return b"%b%b%010d%b" % (before, self._prefix.encode(), self._sent, after) if self._marked else before


async def post(order: Order) -> Load:
    """Post for the ordered time or count."""
    parts = urlsplit(order.url)
    host, port = parts.hostname or "", parts.port or 80
    posts = _Posts(order)
    started, used = time.perf_counter(), time.process_time()
    loop = asyncio.get_running_loop()
    connections = [
        await loop.create_connection(lambda: _Connection(posts), host, port) for _ in range(order.connections)
    ]
    until = started + order.seconds
    while (now := time.perf_counter()) < until and not posts.stopped:
        if order.rate is not None:
            posts.due(int((now - started) * order.rate))
        await asyncio.sleep(0.002 if order.rate is not None else 0.05)
    posts.stop()
    try:
        async with asyncio.timeout(DRAIN):
            await posts.over.wait()
    except TimeoutError:
        posts.broken += 1
        posts.over.set()
    seconds = time.perf_counter() - started
    for transport, _ in connections:
        transport.close()
    return Load(posts.done, posts.bad + posts.broken, seconds, (time.process_time() - used) / seconds)


if __name__ == "__main__":
    load = uvloop.run(post(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
    sys.stdout.write(msgspec.json.encode(load).decode())
    sys.exit(0)
