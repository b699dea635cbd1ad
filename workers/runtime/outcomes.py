"""The outcomes that a handler returns for messages; only `workers.runtime.batch_consumer` acts on them."""

import enum


class Outcome(enum.Enum):
    """What a handler returns for one message."""

    DONE = "done"
    """The message was stored or put into quarantine, or nothing had to be done: acknowledge it."""
    HELD = "held"
    """The message cannot be handled now, while others can: keep it unacknowledged and try it again alone, later."""
    RETURNED = "returned"
    """The session of the message has ended, so the broker delivers it again. Only the batch consumer sets this."""


class UnavailableError(Exception):
    """Something that the handler needs is unavailable: the database, or the broker's confirms.

    The whole batch is held and tried again. No message is to blame for that, so it does not count as a failure.
    """
