"""What a handler says of a message; `workers.runtime.loop` is the one place that acts on it."""

import enum

import msgspec


class Settled(enum.Enum):
    """The two outcomes that need no words."""

    DONE = "done"
    """Stored, refused, or nothing to do: ack."""
    FAILED = "failed"
    """Give it back; the queue's delivery limit counts, and in the end it is dead."""


class Dead(msgspec.Struct, frozen=True):
    """Never to be handled: goes to `crossdock.dead`, whole, with the reason."""

    reason: str


Outcome = Settled | Dead


class NotNow(Exception):
    """Something the handler needs is away (the database, the broker's confirms). The whole batch is held and tried
    again; that is nobody's failure and counts towards nothing."""
