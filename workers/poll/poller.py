"""One poll of one account: page -> select -> publish -> confirm -> remember, and the cursor after the last page.

Every step may be repeated. An order that was published but not remembered is published again. It is then the same
version received twice, as with a webhook that is sent again.
"""

import hashlib
import logging
import time
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from broker import ids
from broker.publisher import Publisher
from schemas import canonical, envelope, topology
from storage import polls
from storage.polls import Place
from workers.poll.client import Client, FetchError, PageMissingError
from workers.poll.source import Source

log = logging.getLogger("crossdock.poll")

CONTENT_TYPE = "application/json"
MAX_ORDER = 8 * 1024 * 1024
"""Maximum bytes of one order.

A message over 16 MiB makes RabbitMQ close the channel, which all other messages share.
"""


class StoppingError(Exception):
    """The worker is stopping, so the poll ends between two pages."""


class Order(msgspec.Struct, frozen=True):
    """One item of a page, with the fields that polling needs."""

    raw: bytes
    key: bytes
    """Digest of the order's `id`, or of its content if it has no `id`."""
    digest: bytes
    """Digest of the content in the store worker's canonical form, so that JSON formatting does not matter."""
    status: str | None
    placed_at: datetime | None


class PollCounts(msgspec.Struct):
    """The counts of one poll, for its log line."""

    pages: int = 0
    orders: int = 0
    published: int = 0
    unchanged: int = 0
    skipped: int = 0
    """Orders left out because of their status."""
    too_large: int = 0
    undated: int = 0
    """Orders without a readable time, which are published but do not move the cursor."""


def read(source: Source, raw: bytes) -> Order:
    """Parse one item of a page, without ever raising an error.

    An item that is not an order is still published, and ends in quarantine, where a person can see it.
    """
    summary = source.summarize(raw)
    try:
        digest = canonical.form(raw).digest
    except canonical.NotJSONError:
        digest = _digest(b"bytes", raw)
    if summary.id is None:
        key = _digest(b"content", digest)
    else:
        key = _digest(b"id", summary.id.encode("utf-8", "surrogatepass"))
    return Order(raw, key, digest, summary.status, summary.placed_at)


class Poller:
    """Polls one account once; set `stopping` to end it before the next page."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        publisher: Publisher,
        client: Client,
        source: Source,
        worker: UUID,
        account: str,
        *,
        shards: int = 1,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._client = client
        self._source = source
        self._worker = worker
        self._account = account
        self._stamp = envelope.Stamp(source.platform, account, source.event, CONTENT_TYPE, None, shards=shards)
        self._key = topology.inbound_key(source.platform, account, source.event)
        self.stopping = False
        self.counts = PollCounts()

    async def run(self, place: Place) -> None:
        """Fetch all orders since `place`, publish the new and changed ones, then record how far the round got.

        Raises FetchError (API error), BrokerUnavailableError (broker unavailable), LeaseLostError (another worker took
        over), StoppingError and asyncpg's errors.
        """
        started = envelope.now()
        known = await polls.known(self._pool, self._source.platform, self._account)
        listed: set[bytes] = set()
        reached: datetime | None = None
        url = self._client.first(place.cursor - self._source.overlap)
        requested = {url}
        while True:
            if self.stopping:
                raise StoppingError
            try:
                page = await self._client.page(url)
            except PageMissingError:
                if not self.counts.pages:
                    raise
                # Orders are no longer listed, so others may have moved to a page that was read before. `reached`
                # stays, and nothing is forgotten: the next round lists them all again.
                log.warning("page missing", extra={"account": self._account, "pages": self.counts.pages})
                reached, listed = None, set(known)
                break
            self.counts.pages += 1
            orders = self._select(page.results)
            listed.update(order.key for order in orders)
            await self._take(orders, known)
            for order in orders:
                if order.placed_at is None:
                    self.counts.undated += 1
                else:
                    # A date in the future (a wrong clock or year) must not move the cursor past orders still to come.
                    at = min(order.placed_at, started)
                    reached = at if reached is None else max(reached, at)
            if page.next is None:
                break
            url = page.next
            if url in requested:
                raise FetchError("page: `next` leads in a circle")
            requested.add(url)
        async with self._pool.acquire() as connection:
            gone = known.keys() - listed
            await polls.advance(connection, self._source.platform, self._account, self._worker, reached, gone)

    def _select(self, items: Iterable[bytes]) -> list[Order]:
        """Parse the items of a page, and leave out those that are too large or have another status."""
        selected: list[Order] = []
        for raw in items:
            self.counts.orders += 1
            if len(raw) > MAX_ORDER:
                self.counts.too_large += 1
                log.error("order too large", extra={"account": self._account, "bytes": len(raw)})
                continue
            order = read(self._source, raw)
            if order.status is not None and order.status.strip().upper() != self._source.status:
                self.counts.skipped += 1
                log.debug("order skipped", extra={"account": self._account, "status": order.status[:50]})
                continue
            selected.append(order)
        return selected

    async def _take(self, orders: list[Order], known: dict[bytes, bytes]) -> None:
        """Publish new and changed orders, and remember them after the broker has confirmed all of them."""
        fresh: dict[bytes, Order] = {}
        for order in orders:
            if (fresh[order.key].digest if order.key in fresh else known.get(order.key)) == order.digest:
                self.counts.unchanged += 1
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
            await polls.remember(connection, self._source.platform, self._account, self._worker, published)
        known.update(published)
        self.counts.published += len(published)


def _digest(kind: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(kind + b"\0" + data, digest_size=canonical.DIGEST_BYTES).digest()
