"""Documents of about 1 MiB: thousands of them under a memory limit, and a broker that accepts no larger messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import msgspec

from schemas import documents, registry
from tests.faults.backing import Single
from tests.faults.catalogue.poison import until_stored
from tests.faults.catalogue.servers import memory_alarm
from tests.faults.ledger import Body, Post
from tests.faults.site import Site
from tests.faults.trial import Fault

COUNT = 2000
ABOVE_LIMIT = 700
"""Documents that take more than `LIMIT` when a worker holds all of them."""
SIZE = 1_000_000
"""Bytes of a document; the ingress accepts up to 1 MiB by default."""
LIMIT = 512
"""Memory of each process in the Kubernetes manifests, in MiB."""
CONCURRENCY = 8
"""Posts of `SIZE` bytes in progress at a time for the backlog."""
FLOOD = 600
"""Posts of `SIZE` bytes in progress at a time while the broker is blocked."""
PROCESSED_WITHIN = 240.0
"""Seconds from the store worker's start in which the whole backlog must be stored."""
POLL_INTERVAL = 0.5
MESSAGE_LIMIT = 1 << 20
"""`max_message_size` of the broker, in bytes."""
OVERHEAD = 300
"""Maximum bytes that the message of a document has beyond its body; its event has more."""


def large(site: Site, size: int = SIZE, platform: str = "channelape") -> Body:
    """Return a document of this size that was not sent before."""
    body = site.load.fresh(platform)
    return msgspec.structs.replace(body, padding=size - len(body.raw))


def peak(pid: int) -> float:
    """Return the most memory that the process ever had resident, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _used_too_much(site: Site, kinds: Iterable[str]) -> list[str]:
    """Return which processes that run now have had more than the limit, for a person."""
    processes = []
    for process in (process for kind in kinds for process in site.processes[kind]):
        with suppress(OSError, IndexError):  # it has just died
            if (most := peak(process.pid)) > LIMIT:
                processes.append(f"{process.name} used {most:.0f} MiB")
    return processes


def _check_memory(site: Site, kind: str, pids: Sequence[int]) -> None:
    """Check that the processes are still the same, and stayed within the limit."""
    for process, pid in zip(site.processes[kind], pids, strict=True):
        if process.pid != pid:
            site.unmet.append(f"{process.name} died")
        elif (most := peak(pid)) > LIMIT:
            site.unmet.append(f"{process.name} used {most:.0f} MiB")


def _pids(site: Site, kind: str) -> list[int]:
    return [process.pid for process in site.processes[kind]]


@asynccontextmanager
async def backlog(site: Site, count: int) -> AsyncIterator[None]:
    """Start the store worker on a backlog of `count` documents, wait until they are delivered, and check the memory."""
    (store,) = site.processes["store"]
    await store.stop()
    for process in site.processes["deliver"]:  # so that their peak is that of this backlog
        await process.stop()
        await process.start()
    posts = await site.load.post_all((large(site) for _ in range(count)), at_once=CONCURRENCY)
    ids = [post.id for post in posts if post.id is not None]
    if len(ids) < count:
        site.unmet.append(f"{count - len(ids)} of {count} large documents were not accepted")
    await store.start()
    pids = {kind: _pids(site, kind) for kind in ("store", "deliver")}
    deadline = time.monotonic() + PROCESSED_WITHIN
    left = len(ids)
    while left and time.monotonic() < deadline:
        left = len(ids) - await until_stored(site, ids, time.monotonic() + POLL_INTERVAL)
        if too_much := _used_too_much(site, pids):  # whatever follows, the fault has failed
            site.unmet += too_much
            yield
            return
    if left:
        site.unmet.append(f"{left} large documents were not stored within {PROCESSED_WITHIN:.0f} s")
    yield
    await _delivered(site, posts)
    for kind, before in pids.items():
        _check_memory(site, kind, before)


async def _delivered(site: Site, posts: Sequence[Post]) -> None:
    """Wait until a subscriber has received as many events as there are posts; the verdict counts exactly."""
    received = site.subscribers.received["standard"]
    deadline = time.monotonic() + PROCESSED_WITHIN
    while len(received) < len(posts):
        if time.monotonic() > deadline:
            site.unmet.append(f"{len(posts) - len(received)} are not delivered within {PROCESSED_WITHIN:.0f} s")
            return
        await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def blocked(site: Site) -> AsyncIterator[None]:
    """Block RabbitMQ while hundreds of posts of about 1 MiB wait in the ingress."""
    (ingress,) = site.processes["ingress"]
    await ingress.stop()
    await ingress.start()
    pids = _pids(site, "ingress")
    async with memory_alarm(site):
        await site.load.post_all((large(site) for _ in range(FLOOD)), at_once=FLOOD)
        yield
    _check_memory(site, "ingress", pids)


class SmallMessages(Single):
    """A broker that closes a channel on which more than `MESSAGE_LIMIT` bytes are published."""

    rabbitmq_settings: ClassVar[Mapping[str, str]] = {"max_message_size": str(MESSAGE_LIMIT)}


ACCEPTING = 'max_body = "4MiB"'
"""A line for the ingress's section of the configuration: more than the broker accepts."""


@asynccontextmanager
async def too_large(site: Site) -> AsyncIterator[None]:
    """Send posts that the broker does not accept: each must be answered 413, and no other post may wait."""
    start = len(site.ledger.posts)
    bodies = [large(site, 3 * MESSAGE_LIMIT // 2, platform) for platform in registry.platforms() for _ in range(3)]
    posts = await site.load.post_all(bodies, at_once=2)
    if wrong := [post.status for post in posts if post.status != 413]:
        site.unmet.append(f"posts that are too large for the broker were answered {wrong}")
    yield
    others = [post for post in site.ledger.posts[start:] if post not in posts and post.status is not None]
    if waited := sum(not post.accepted for post in others):
        site.unmet.append(f"{waited} other posts were not accepted")


@asynccontextmanager
async def event_too_large(site: Site) -> AsyncIterator[None]:
    """Send bodies that the broker accepts, while it does not accept their events: those must come without `data`."""
    posts = await site.load.post_all([large(site, MESSAGE_LIMIT - OVERHEAD) for _ in range(5)], at_once=1)
    if wrong := [post.status for post in posts if not post.accepted]:
        site.unmet.append(f"posts that fit the broker were answered {wrong}")
    before = len(site.consumer.referring)
    yield
    with_reference = len(site.consumer.referring) - before
    if with_reference < len(posts):
        site.unmet.append(f"{len(posts)} events do not fit the broker, and {with_reference} came with a dataref")


def _backlog(count: int) -> Fault:
    name = f"{count:,} documents of 1 MB wait for the store worker"
    return Fault(name, partial(backlog, count=count), 0.0, slow=True)


BACKLOG = (
    _backlog(COUNT),
    Fault(f"{FLOOD} posts of 1 MB at a time, and RabbitMQ's memory alarm", blocked, 5.0, slow=True),
)
FEWER = (_backlog(ABOVE_LIMIT),)
"""Faults for the mutant without a bound by bytes."""
MESSAGES = (
    Fault("posts larger than RabbitMQ's max_message_size", too_large, 3.0),
    Fault("events larger than RabbitMQ's max_message_size", event_too_large, 5.0),
)
"""Faults of a site with `SmallMessages`."""


def many_fields(count: int) -> Body:
    """Return a receipt with `count` additional fields of the same name, whose reading must not take quadratic time."""
    platform = registry.platforms()["channelape"]
    known = b'{"name": "receipt_id", "value": "' + uuid4().hex.encode() + b'"}'
    start, end = b'{"id": "1", "additionalFields": [' + known, b'], "lineItems": []}'
    reading = documents.describe(platform, "receipt_confirmation", start + end).reading
    return Body(
        "channelape", "receipt_confirmation", reading.type, reading.key, start + b', {"name": "a"}' * count + end
    )


FIELDS = 60_000
ORDERS = 20
STORED_WITHIN = 20.0


@asynccontextmanager
async def fields(site: Site) -> AsyncIterator[None]:
    """Post the receipt, and then orders, which must not wait for it."""
    (receipt,) = await site.load.post_all([many_fields(FIELDS)])
    posts = await site.load.post_all([site.load.fresh("channelape") for _ in range(ORDERS)])
    ids = [post.id for post in (receipt, *posts) if post.id is not None]
    stored = await until_stored(site, ids, time.monotonic() + STORED_WITHIN)
    if stored < 1 + ORDERS:
        site.unmet.append(f"{1 + ORDERS - stored} of {1 + ORDERS} are not stored within {STORED_WITHIN:.0f} s")
    yield


MANY_FIELDS = (Fault("a receipt with 60,000 additional fields of one name", fields, 0.0, slow=True),)
