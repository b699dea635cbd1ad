"""Mutated requests to running processes: none may cause a 5xx or a hang, and other requests must be answered."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from schemas import registry
from schemas.config import Config
from tests.attacks import raw
from tests.attacks.mutate import Mutator
from tests.support.bodies import known

PATIENCE = 0.1
"""Seconds to wait for an answer. A process that takes longer waits for more data, which do not come."""
CONCURRENCY = 32
HEALTHY = 500
"""Inputs between two ordinary requests, which must be answered well."""
READ = 64 * 1024


def hooks(config: Config) -> list[bytes]:
    """Return signed posts of every example, with chunks and without, and some other requests."""
    requests = []
    for platform, event, body in known():
        name, account = next(iter(config.accounts[platform.name].items()))
        requests += [
            _post(platform.name, name, event.path, body, account),
            _post(platform.name, name, event.path, b"{}", account),
        ]
    path = raw.hook(config).encode()
    return [
        *requests,
        b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3;a=b\r\n[1]\r\n0\r\nX: y\r\n\r\n"
        % path,
        b"GET /hooks/ustore/x HTTP/1.1\r\nHost: x\r\nAccept-Language: fr-CA;q=0.8, *;q=0.1\r\n\r\n",
        b"POST %b HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}" % path,
    ]


def _post(platform: str, account: str, path: str, body: bytes, settings: object) -> bytes:
    signed = registry.platforms()[platform].sign(body, settings)
    query = "&".join(f"{key}={value}" for key, value in signed.query.items())
    lines = [f"POST /hooks/{platform}/{account}/{path}{'?' if query else ''}{query} HTTP/1.1", "Host: x"]
    lines += [f"{name}: {value}" for name, value in signed.headers.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def signed_mutants(config: Config, seed: int = 0) -> Callable[[], bytes]:
    """Return a function that makes authentic posts of mutated bodies."""
    bodies, draw = Mutator([body for _, _, body in known()], seed), random.Random(seed)
    events = [(platform, event) for platform in registry.platforms().values() for event in platform.events]

    def make() -> bytes:
        platform, event = draw.choice(events)
        name, account = next(iter(config.accounts[platform.name].items()))
        return _post(platform.name, name, event.path, bodies(), account)

    return make


def api_requests(*logins: str) -> list[bytes]:
    """Return requests of subscribers and operators, each with every one of these header lines, and without."""
    subscription = "/v1/subscriptions/00000000-0000-4000-8000-000000000001"
    body = (
        '{"url": "https://a.example/in", "types": ["channelape.*"], "accounts": ["channelape/rothys"], "max_rate": 5}'
    )
    basic = '{"authentication": "Basic eA==", "webhookType": "new_order", "url": "https://a.example/in"}'
    calls = [
        ("POST", "/v1/subscriptions", body),
        ("PATCH", subscription, '{"enabled": false}'),
        ("DELETE", subscription, ""),
        ("GET", "/v1/subscriptions?limit=5&cursor=eyJ9", ""),
        ("POST", f"{subscription}/replay", '{"from": "2026-01-01T00:00:00Z"}'),
        ("POST", f"{subscription}/rotate-secret", ""),
        ("POST", f"{subscription}/test", ""),
        ("GET", f"{subscription}/deliveries?status=failed", ""),
        ("POST", "/basic/webhooks", basic),
        ("PUT", "/basic/webhooks/1", basic),
        ("GET", "/v1/openapi.json", ""),
    ]
    requests = [
        f"{method} {path} HTTP/1.1\r\nHost: x\r\n{login}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: k1\r\nContent-Length: {len(content)}\r\n\r\n{content}"
        for method, path, content in calls
        for login in (*logins, "X: y")
    ]
    return [text.encode() for text in requests]


class Attack:
    """Sends inputs, and counts the statuses of the answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._address = 0
        self.statuses: Counter[int] = Counter()
        """How often each status came; 0: the connection was closed, or got no answer in time."""
        self.wrong: dict[int, bytes] = {}
        """For each status that no input may cause, an input that did."""

    async def __call__(
        self, makers: Sequence[Callable[[], bytes]], count: int, healthy: Callable[[], Awaitable[None]]
    ) -> None:
        """Send `count` inputs, from `makers` in turn. `healthy`: sends an ordinary request; raises if it fails."""
        numbers = iter(range(count))

        async def sender() -> None:
            for number in numbers:
                await self._send(makers[number % len(makers)]())
                if number % HEALTHY == 0:
                    async with asyncio.timeout(raw.PATIENCE):
                        await healthy()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENCY, count)):
                group.create_task(sender())

    def _from(self) -> tuple[str, int] | None:
        """Return another address of this machine each time, if it has them: failed log-ins are counted by address."""
        if sys.platform != "linux":
            return None
        self._address = self._address % 65_000 + 1
        return f"127.1.{self._address >> 8}.{self._address & 255}", 0

    async def _send(self, data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=self._from())
        answer = b""
        try:
            writer.write(data)
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(PATIENCE):
                    answer = await reader.read(READ)
        finally:
            writer.transport.abort()
        statuses = raw.statuses(answer) if answer.startswith(b"HTTP/1.") else []
        self.statuses.update(statuses or [0])
        for status in statuses:
            if not 100 <= status < 500 and status != 503:
                self.wrong.setdefault(status, data)
