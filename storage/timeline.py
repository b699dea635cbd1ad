"""The life of one document in the order it happened, made of what `storage.trace` reads. Pure.

The command line prints it, and the console shows it with links.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from schemas import registry, topology


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message that holds the document, as received."""

    message_id: UUID
    received_at: datetime
    bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A stored version of the document."""

    id: UUID
    version: int
    stored_at: datetime
    times_received: int
    flags: list[str]


@dataclass(frozen=True, slots=True)
class AllocatedItem:
    """The manufacturer that an item of a uStore order went to."""

    item: str
    manufacturer: str
    rule: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The answer to a uStore order."""

    received_at: datetime
    message_id: UUID
    version_id: UUID
    items: list[AllocatedItem]
    announced: list[str] | None
    """The manufacturers that were notified."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt of a delivery, or a delivery that waits for its first attempt: then `at` is None."""

    id: UUID
    url: str | None
    dialect: str | None
    status: str
    created_at: datetime
    at: datetime | None = None
    attempt: int | None = None
    outcome: str | None = None
    status_code: int | None = None
    duration_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document and everything that happened to it."""

    platform: str
    account: str
    type: str
    key: str
    receipts: list[Receipt]
    versions: list[Version]
    records: list[Record]
    deliveries: list[Attempt]


@dataclass(frozen=True, slots=True)
class QuarantinedMessage:
    """A message that could not be processed."""

    id: UUID
    platform: str
    account: str
    event: str
    reason: str
    received_at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """An event of the document on `crossdock.events`."""

    exchange: str
    routing_key: str
    id: UUID | None
    version: int
    stored_at: datetime


class Moment(NamedTuple):
    """One step of an order's life. `rank` orders steps of the same time."""

    at: datetime
    rank: int
    what: str
    detail: str
    subject: UUID | None = None
    """The message that was received, the event that was stored or queued, or the delivery that was attempted."""


_ORDER = itemgetter(slice(0, 4))
"""Sorts steps by time, rank and text."""


def messages(document: Document) -> Iterator[Message]:
    """Yield the events of a document on `crossdock.events`: one per version, and one per recipient of a changed
    share."""
    platform = registry.platforms().get(document.platform)
    announcement = None if platform is None else platform.announcement
    stored = {version.id: version for version in document.versions}
    for version in document.versions:
        key = topology.event_key(document.type, document.account)
        yield Message(topology.EVENTS, key, version.id, version.version, version.stored_at)
    for record in document.records:
        if announcement is None or (ordered := stored.get(record.version_id)) is None:
            continue
        for recipient in record.announced or ():
            key = topology.event_key(announcement.event_type, document.account, recipient)
            queued_at = max(ordered.stored_at, record.received_at)
            yield Message(topology.EVENTS, key, None, ordered.version, queued_at)


def timeline(document: Document) -> list[Moment]:
    """Return everything that happened to one document, in order of time."""
    moments = [
        Moment(
            receipt.received_at,
            0,
            "received",
            f"{receipt.bytes} bytes, message {receipt.message_id}",
            receipt.message_id,
        )
        for receipt in document.receipts
    ]
    for version in document.versions:
        flags = f" [{', '.join(version.flags)}]" if version.flags else ""
        times = f", received {version.times_received} times" if version.times_received > 1 else ""
        detail = f"version {version.version}{flags}{times}, event {version.id}"
        moments.append(Moment(version.stored_at, 1, "stored", detail, version.id))
    before: list[AllocatedItem] | None = None
    for record in document.records:
        moments += [
            Moment(record.received_at, 2, "allocated", text, record.message_id) for text in _allocated(record, before)
        ]
        before = record.items
    moments += [
        Moment(message.stored_at, 3, "queued", f"{message.routing_key} on {message.exchange}", message.id)
        for message in messages(document)
    ]
    moments += [
        Moment(delivery.at or delivery.created_at, 4, *_sent(delivery), delivery.id) for delivery in document.deliveries
    ]
    return sorted(moments, key=_ORDER)


def _sent(delivery: Attempt) -> tuple[str, str]:
    """Describe an attempt, or a delivery that waits for its first attempt."""
    destination = f"{delivery.dialect} {delivery.url}"
    if delivery.at is None:
        return delivery.status, f"{destination}, delivery {delivery.id}"
    status = f" {delivery.status_code}" if delivery.status_code else ""
    error = f": {delivery.error}" if delivery.error else ""
    attempt = f"attempt {delivery.attempt}, {delivery.duration_ms:.1f} ms"
    return str(delivery.outcome), f"{destination}{status}, {attempt}{error}"


def _allocated(record: Record, before: list[AllocatedItem] | None) -> Iterator[str]:
    """Yield one line per item, or one line for an answer that equals the one before."""
    if record.items == before:
        yield f"as before, for message {record.message_id}"
        return
    for item in record.items:
        detail = f" ({item.detail})" if item.detail else ""
        yield f"item {item.item} to manufacturer {item.manufacturer} by {item.rule}{detail}"


SETBACKS = ("quarantined", "replayed", "discarded")
"""What steps of a message that could not be processed are called."""


def setbacks(message: QuarantinedMessage) -> list[Moment]:
    """Return what happened to a message that could not be processed."""
    steps = (
        (message.received_at, SETBACKS[0], message.reason),
        (message.replayed_at, SETBACKS[1], "published again"),
        (message.discarded_at, SETBACKS[2], "by a person"),
    )
    return sorted(Moment(at, rank, what, detail) for rank, (at, what, detail) in enumerate(steps) if at is not None)


def since(at: datetime, first: datetime) -> str:
    """Return the time since the first step, such as `0.041 s`, `12 min`, `3.5 h` or `2.1 d`."""
    seconds = (at - first).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3f} s"
