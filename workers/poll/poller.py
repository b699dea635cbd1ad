"""One poll of one account: page -> choose -> publish -> confirm -> remember. At the end, and only then, the cursor.

Every step may be repeated. What was published and not remembered is published again, and is then the same version
received twice, as with a webhook that is sent again.
"""

import hashlib
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec

from broker import identity as ids
from broker.publisher import Publisher
from schemas import canonical, envelope, topology
from schemas.platforms import apicbase
from schemas.platforms.apicbase import identity
from storage import polls
from storage.polls import Place
from workers.poll.client import Client, Failed

log = logging.getLogger("crossdock.poll")

PLATFORM = apicbase.PLATFORM.name
CONTENT_TYPE = "application/json"
OVERLAP = timedelta(days=3)
"""Each round asks for this much again. Two days, and one more because a filter by day leaves out the day it names."""
MAX_ORDER = 8 * 1024 * 1024
"""Bytes of one order. RabbitMQ closes the channel for a message over 16 MiB, and with it everyone's."""
STATUS = "ORDERED"


class Stopping(Exception):
    """The worker was told to stop; the poll ends between two pages."""


class Order(msgspec.Struct, frozen=True):
    """One item of a page, as far as polling needs to know it."""

    raw: bytes
    key: bytes
    """Digest of its id; of its content if it has none."""
    digest: bytes
    """Of its content, as the store worker understands it: how JSON is written doesn't matter."""
    status: str | None
    ordered_on: datetime | None


class Summary(msgspec.Struct):
    """What a poll came to: its line in the log."""

    pages: int = 0
    orders: int = 0
    published: int = 0
    unchanged: int = 0
    skipped: int = 0
    """By their status, no orders for us any more."""
    too_large: int = 0
    undated: int = 0
    """With no `ordered_on` that we can read: they are published, and move no cursor."""


class _Peek(msgspec.Struct, frozen=True):
    id: msgspec.Raw = msgspec.Raw(b"null")
    status: msgspec.Raw = msgspec.Raw(b"null")
    ordered_on: msgspec.Raw = msgspec.Raw(b"null")


def read(raw: bytes) -> Order:
    """Never raises: what is no order is still published, and ends in quarantine, where a person sees it."""
    try:
        peek = msgspec.json.decode(raw, type=_Peek)
    except (ValueError, RecursionError):
        peek = _Peek()
    try:
        digest = canonical.form(raw).digest
    except canonical.NotJson:
        digest = _digest(b"bytes", raw)
    name = _text(peek.id)
    key = _digest(b"content", digest) if name is None else _digest(b"id", name.encode("utf-8", "surrogatepass"))
    return Order(raw, key, digest, _text(peek.status), moment(_text(peek.ordered_on)))


def moment(text: str | None) -> datetime | None:
    """UTC. Zone and format aren't documented: an offset, `Z` or none (then UTC; the overlap covers any zone)."""
    try:
        found = datetime.fromisoformat((text or "").strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 2000 <= found.year < 3000 else None


class Poller:
    """Polls for one account, once. `stopping` is looked at between pages."""

    def __init__(
        self, pool: asyncpg.Pool, publisher: Publisher, client: Client, worker: UUID, account: str, *, shards: int = 1
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._client = client
        self._worker = worker
        self._account = account
        self._stamp = envelope.Stamp(PLATFORM, account, identity.EVENT, CONTENT_TYPE, None, shards=shards)
        self._key = topology.inbound_key(PLATFORM, account, identity.EVENT)
        self.stopping = False
        self.summary = Summary()

    async def run(self, place: Place) -> None:
        """One complete round. Raises Failed (the API), Unavailable (the broker), Lost, Stopping, asyncpg's errors."""
        started = envelope.now()
        known = await polls.known(self._pool, PLATFORM, self._account)
        listed: set[bytes] = set()
        reached: datetime | None = None
        url = self._client.first(place.cursor - OVERLAP)
        asked = {url}
        while True:
            if self.stopping:
                raise Stopping
            page = await self._client.page(url)
            self.summary.pages += 1
            orders = self._wanted(page.results)
            listed.update(order.key for order in orders)
            await self._take(orders, known)
            for order in orders:
                if order.ordered_on is None:
                    self.summary.undated += 1
                else:
                    # One from the future (a clock, a mistyped year) must not carry the cursor past what is to come.
                    at = min(order.ordered_on, started)
                    reached = at if reached is None else max(reached, at)
            if page.next is None:
                break
            url = page.next
            if url in asked:
                raise Failed("page: `next` leads in a circle")
            asked.add(url)
        async with self._pool.acquire() as connection:
            gone = known.keys() - listed
            await polls.advance(connection, PLATFORM, self._account, self._worker, reached, gone)

    def _wanted(self, items: Iterable[bytes]) -> list[Order]:
        """Without what is not, or no more, for us to take."""
        wanted: list[Order] = []
        for raw in items:
            self.summary.orders += 1
            if len(raw) > MAX_ORDER:
                self.summary.too_large += 1
                log.error("order too large", extra={"account": self._account, "bytes": len(raw)})
                continue
            order = read(raw)
            if order.status is not None and order.status.strip().upper() != STATUS:
                self.summary.skipped += 1
                log.debug("order skipped", extra={"account": self._account, "status": order.status[:50]})
                continue
            wanted.append(order)
        return wanted

    async def _take(self, orders: list[Order], known: dict[bytes, bytes]) -> None:
        """Publishes what is new or was changed; it is remembered when the broker has confirmed all of it."""
        fresh: dict[bytes, Order] = {}
        for order in orders:
            if (fresh[order.key].digest if order.key in fresh else known.get(order.key)) == order.digest:
                self.summary.unchanged += 1
            else:
                fresh[order.key] = order
        if not fresh:
            return
        confirms = []
        for order in fresh.values():
            name = ids.message_id()
            properties = self._stamp(name, time.time(), ids.traceparent(None))
            confirms.append(self._publisher.publish(topology.INBOUND, self._key, properties, name, order.raw))
        for confirm in confirms:
            await confirm
        published = {key: order.digest for key, order in fresh.items()}
        async with self._pool.acquire() as connection:
            await polls.remember(connection, PLATFORM, self._account, self._worker, published)
        known.update(published)
        self.summary.published += len(published)


def _digest(kind: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(kind + b"\0" + data, digest_size=canonical.DIGEST_BYTES).digest()


def _text(raw: msgspec.Raw) -> str | None:
    """Of a JSON string or number."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, bool) or not isinstance(value, str | int | float) else str(value)
