"""Queues of systems that consume `crossdock.events`: their names, limits and bindings. Pure."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from schemas import erasure, registry
from schemas.config import Name
from schemas.topology import DELIVERY_LIMIT, EVENTS, Arguments, Binding, Queue

PREFIX = "crossdock.consumer."
DEAD_MAX = 10_000
"""Messages that a consumer failed on, or had no room for, kept to be looked at."""


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A system that has a queue of its own."""

    name: Name
    types: list[str]
    """Event types: `channelape.receipt_confirmation`, `channelape.*`, `*`."""
    accounts: list[str]
    """`rothys` (of any platform), `channelape/rothys`, `ecomnow/*`, `*`."""
    max_messages: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000_000
    """Above either limit the oldest messages are dropped, because a consumer that is not running must not fill the
    broker's disk; the log still has them."""

    @property
    def queue(self) -> str:
        return PREFIX + self.name

    @property
    def dead(self) -> str:
        return f"{self.queue}.dead"


def queues(consumer: Consumer) -> tuple[Queue, Queue]:
    """Return the consumer's queue, and the queue for messages that it repeatedly failed on or had no room for.

    The latter has no delivery limit, so that messages which are looked at and given back stay.
    """
    limits: Arguments = {
        "x-max-length": consumer.max_messages,
        "x-max-length-bytes": consumer.max_bytes,
        "x-overflow": "drop-head",
    }
    dead: Arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": consumer.dead}
    return (
        Queue(consumer.queue, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, **limits, **dead}),
        Queue(consumer.dead, {"x-queue-type": "quorum", "x-max-length": DEAD_MAX, "x-overflow": "drop-head"}),
    )


def bindings(consumer: Consumer) -> list[Binding]:
    """Return the bindings of the consumer's queue.

    Raises ValueError, which names an unknown event type or a malformed account, and the known types.
    """
    patterns = {_key(type_, account) for type_ in consumer.types for account in consumer.accounts}
    keys = sorted(key for key in patterns if key is not None)
    if not keys:
        raise ValueError("no event has any of these types and any of these accounts")
    return [Binding(EVENTS, consumer.queue, key) for key in keys]


def _key(type_: str, account: str) -> str | None:
    """Return the pattern of routing keys for a type and an account; None if they exclude each other.

    Routing keys are `<platform>.<event>.<account>`, with one word more for the recipients of shares.
    """
    platform, event = _type(type_)
    owner, _, name = account.rpartition("/")
    if not name or name.count("*") != (name == "*") or owner.count("*") != (owner == "*") or "." in account:
        raise ValueError(f"{account!r} is not an account: write rothys, channelape/rothys, channelape/* or *")
    if type_ == erasure.TYPE:
        if owner not in ("", "*") and name == "*":
            raise ValueError(f"{type_} is routed by the account's name alone: write a name instead of {account!r}")
    elif owner not in ("", "*"):
        if platform not in ("*", owner):
            return None
        platform = owner
    if (platform, event, name) == ("*", "*", "*"):
        return "#"
    return f"{platform}.{event}.#" if name == "*" else f"{platform}.{event}.{name}.#"


def _type(pattern: str) -> Sequence[str]:
    """Return platform and event of a type or pattern, `*` for any. Raises ValueError if no event has the type."""
    if pattern == "*":
        return "*", "*"
    known = registry.published_types()
    words = pattern.split(".")
    is_platform = len(words) == 2 and words[1] == "*" and any(type_.startswith(f"{words[0]}.") for type_ in known)
    if pattern in known or is_platform:
        return words
    raise ValueError(
        f"{pattern!r} is not an event type: write one of {', '.join(known)}; or all of a platform, as in channelape.*"
    )
