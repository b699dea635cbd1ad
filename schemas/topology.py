"""The exchanges, queues and bindings of contract §4, as values. Names are derived here and typed nowhere else.

Works on RabbitMQ 3.10 to 4.x: everything is declared by arguments over AMQP. A policy is only needed where the
retention of an existing log changes, because AMQP cannot change the arguments of a queue.
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
"""The default of RabbitMQ 4, and the limit of consumers' queues, which dead-letter what exceeds it. Earlier releases
declared it for our workers' queues too. Those have none any more: the broker counts killed workers and lost connections
as well, so its count says nothing about a message."""
UNLIMITED = -1
"""The `x-delivery-limit` that means "none" from RabbitMQ 4.0 on. On 3.x it would dead-letter at the first requeue."""
CHANGEABLE = {
    "quorum": ("x-delivery-limit",),
    "stream": ("x-max-age", "x-max-length-bytes", "x-stream-max-segment-size-bytes"),
}
"""Arguments in which an existing queue may differ from ours and still serve, by type of queue."""
LOG_POLICY = "crossdock-events-log"
"""The policy that sets the retention of an existing log. RabbitMQ 3.10 to 4.3: for streams the policy goes before the
arguments (`policy_precedence` in rabbit_stream_queue.erl)."""
NO_SIZE_LIMIT = 2**53
"""Bytes. A policy can replace a size limit that the arguments hold, but not remove it."""
EVENTS_LOG_SEGMENT_BYTES = 100_000_000
"""A stream is trimmed by whole segments; RabbitMQ's default of 500 MB would keep a small log far past its age."""


class Exchange(msgspec.Struct, frozen=True):
    name: str
    type: Literal["topic", "fanout", "direct"]
    arguments: dict[str, Any] = {}


class Queue(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any] = {}
    """The same for every version of RabbitMQ; `declared` adds what depends on it."""

    def declared(self, major: int) -> dict[str, Any]:
        """Return the arguments to declare the queue with on RabbitMQ `major`.x."""
        if self.arguments.get("x-queue-type") == "quorum" and major >= 4:
            return {"x-delivery-limit": UNLIMITED, **self.arguments}
        return dict(self.arguments)


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
    """A queue whose rejected messages end, whole and at least once, in `crossdock.dead`.

    RabbitMQ: at-least-once dead-lettering needs a quorum source and `overflow=reject-publish`.
    """
    return _quorum(
        **{
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


def log_policy(log: Queue) -> dict[str, Any]:
    """The definition of the policy that gives an existing log the retention of `log`."""
    arguments = log.arguments
    return {
        "max-age": arguments["x-max-age"],
        "max-length-bytes": arguments.get("x-max-length-bytes", NO_SIZE_LIMIT),
        "stream-max-segment-size-bytes": arguments["x-stream-max-segment-size-bytes"],
    }


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
