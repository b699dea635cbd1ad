"""Queues of systems that consume `crossdock.events`: their names, limits and bindings. Pure."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from schemas import registry
from schemas.config import Name
from schemas.topology import DELIVERY_LIMIT, EVENTS, Binding, Queue

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
    """Over either limit the oldest go: who is away must not fill the broker's disk, and the log has them."""

    @property
    def queue(self) -> str:
        return PREFIX + self.name

    @property
    def dead(self) -> str:
        return f"{self.queue}.dead"


def queues(one: Consumer) -> tuple[Queue, Queue]:
    """Return its queue, and the queue for what it failed on again and again or had no room for.

    The latter has no delivery limit: what is looked at and given back stays.
    """
    limits = {"x-max-length": one.max_messages, "x-max-length-bytes": one.max_bytes, "x-overflow": "drop-head"}
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": one.dead}
    return (
        Queue(one.queue, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, **limits, **dead}),
        Queue(one.dead, {"x-queue-type": "quorum", "x-max-length": DEAD_MAX, "x-overflow": "drop-head"}),
    )


def bindings(one: Consumer) -> list[Binding]:
    """What it hears. Raises ValueError that says which type or account can't be meant, and what can."""
    keys = [_key(type_, account) for type_ in one.types for account in one.accounts]
    found = sorted({key for key in keys if key is not None})
    if not found:
        raise ValueError("no event has any of these types and any of these accounts")
    return [Binding(EVENTS, one.queue, key) for key in found]


def _key(type_: str, account: str) -> str | None:
    """Routing keys are `<platform>.<event>.<account>`, for manufacturers with one word more. None where the two
    exclude each other."""
    platform, event = _type(type_)
    of, _, name = account.rpartition("/")
    if not name or name.count("*") != (name == "*") or of.count("*") != (of == "*") or "." in account:
        raise ValueError(f"{account!r} is not an account: write rothys, channelape/rothys, channelape/* or *")
    if of not in ("", "*"):
        if platform not in ("*", of):
            return None
        platform = of
    if (platform, event, name) == ("*", "*", "*"):
        return "#"
    return f"{platform}.{event}.#" if name == "*" else f"{platform}.{event}.{name}.#"


def _type(text: str) -> Sequence[str]:
    if text == "*":
        return "*", "*"
    known = registry.event_types()
    words = text.split(".")
    if text in known or (len(words) == 2 and words[1] == "*" and any(one.startswith(f"{words[0]}.") for one in known)):
        return words
    every = ", ".join(known)
    raise ValueError(f"{text!r} is not an event type: write one of {every}; or all of a platform, as in channelape.*")
