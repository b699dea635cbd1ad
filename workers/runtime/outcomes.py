"""What a handler says of a message; `workers.runtime.batch_consumer` is the one place that acts on it."""

import enum


class Settled(enum.Enum):
    """The outcome of one message."""

    DONE = "done"
    """Stored, put into quarantine, or nothing to do: acknowledge it."""
    HELD = "held"
    """It can't be handled now, while others can: keep it unacknowledged and try it again alone, later."""
    RETURNED = "returned"
    """Its session is over: the broker delivers it again."""


Outcome = Settled


class UnavailableError(Exception):
    """Something that the handler needs is unavailable (the database, the broker's confirms). The whole batch is held
    and tried again; that is no message's failure and counts towards nothing."""
