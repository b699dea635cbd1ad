"""The exchanges, queues and bindings of contract §4, as values. Names are derived here and typed nowhere else.

Works unchanged on RabbitMQ 3.10 to 4.x: everything is declared by arguments over AMQP, no policy is needed.
"""

from typing import Any, Literal

import msgspec

from schemas import registry
from schemas.config import MAX_SHARDS, Events, parse_size

INBOUND = "crossdock.inbound"
EVENTS = "crossdock.events"
EVENTS_LOG = "crossdock.events.log"
UNROUTED = "crossdock.unrouted"
DEAD = "crossdock.dead"
STORE = "crossdock.store"

DELIVERY_LIMIT = 20
"""RabbitMQ 4's own default, said aloud because 3.10 has none: the attempts before a message counts as poison."""
EVENTS_LOG_SEGMENT_BYTES = 100_000_000
"""A stream is trimmed by whole segments; RabbitMQ's default of 500 MB would keep a small log far past its age."""


class Exchange(msgspec.Struct, frozen=True):
    name: str
    type: Literal["topic", "fanout", "direct"]
    arguments: dict[str, Any] = {}


class Queue(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any] = {}


class Binding(msgspec.Struct, frozen=True):
    exchange: str
    queue: str
    routing_key: str


class Topology(msgspec.Struct, frozen=True):
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    outdated: tuple[Binding, ...] = ()
    """What another number of shards needs and this one doesn't, the main queue's first.

    While they are there a message may come twice, and is stored once; without them, what is published by an ingress
    that counts as before is stored by nobody. So they go last.
    """


def inbound_key(platform: str, account: str, event: str) -> str:
    """Routing key on `crossdock.inbound`: `channelape.rothys.receipt_confirmation`."""
    return f"{platform}.{account}.{event}"


def event_key(type_: str, account: str, *more: str) -> str:
    """Routing key on `crossdock.events`: `channelape.receipt_confirmation.rothys`."""
    return ".".join((type_, account, *more))


def reply_queue(platform: str) -> str:
    """The queue of requests of `platform` that a worker answers while the sender waits."""
    return f"crossdock.route.{platform}"


def store_queue(shard: int) -> str:
    """The queue of one shard of what is to be stored, counted from 0: the first is `crossdock.store`."""
    return STORE if shard == 0 else f"{STORE}.{shard}"


def stored(shards: int) -> tuple[Binding, ...]:
    """What brings every message on `crossdock.inbound` to a store worker."""
    return _SHARED[:shards] if shards > 1 else (_EVERYTHING,)


def shard_key(message_id: str, shards: int) -> str:
    """The additional routing key that takes a message to its shard: by its id, so that none is busier than others."""
    return _shard_key(int(message_id[-4:], 16) % shards)


def _shard_key(shard: int) -> str:
    return f"shard-{shard}"  # one word, unlike any key of `inbound_key`


_EVERYTHING = Binding(INBOUND, STORE, "#")
_SHARED = tuple(Binding(INBOUND, store_queue(shard), _shard_key(shard)) for shard in range(MAX_SHARDS))


def _quorum(**more: Any) -> dict[str, Any]:
    return {"x-queue-type": "quorum", **more}


def _work() -> dict[str, Any]:
    """A queue whose poison ends, whole and at least once, in `crossdock.dead`.

    RabbitMQ: at-least-once dead-lettering needs a quorum source and `overflow=reject-publish`.
    """
    return _quorum(
        **{
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": DEAD,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    )


def _log(settings: Events) -> Queue:
    size = parse_size(settings.log_max_bytes)
    limit = {"x-max-length-bytes": size} if size else {}
    segment = min(EVENTS_LOG_SEGMENT_BYTES, max(size // 10, 1_000_000)) if size else EVENTS_LOG_SEGMENT_BYTES
    age = {"x-max-age": settings.log_max_age}
    arguments = {"x-queue-type": "stream", **age, **limit, "x-stream-max-segment-size-bytes": segment}
    return Queue(EVENTS_LOG, arguments)


def topology(settings: Events | None = None, *, shards: int = 1) -> Topology:
    """Everything that must exist before the first webhook. The same for every configuration of accounts.

    With several shards the ingress says in a BCC header (RabbitMQ: "sender-selected distribution", removed before
    delivery) which of them stores a message.
    """
    answered = [
        (platform.name, event.name)
        for platform in registry.platforms().values()
        for event in platform.events
        if event.reply is not None
    ]
    exchanges = (
        Exchange(UNROUTED, "fanout"),
        Exchange(INBOUND, "topic", {"alternate-exchange": UNROUTED}),
        Exchange(EVENTS, "topic"),
    )
    queues = (
        Queue(UNROUTED, _quorum()),
        Queue(DEAD, _quorum()),
        *(Queue(store_queue(shard), _work()) for shard in range(shards)),
        *(Queue(name, _work()) for name in sorted({reply_queue(platform) for platform, _ in answered})),
        _log(settings or Events()),
    )
    bindings = (
        Binding(UNROUTED, UNROUTED, ""),
        *stored(shards),
        *(Binding(INBOUND, reply_queue(platform), inbound_key(platform, "*", name)) for platform, name in answered),
        Binding(EVENTS, EVENTS_LOG, "#"),
    )
    outdated = (*((_EVERYTHING,) if shards > 1 else ()), *_SHARED[shards:])
    return Topology(exchanges, queues, bindings, outdated)
