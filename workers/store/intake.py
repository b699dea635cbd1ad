"""Decodes messages as they were received, and notes which of them may be stored without being announced yet."""

import logging

from broker.consumer import IncomingMessage
from schemas import envelope
from schemas.config import Config
from workers.runtime import rehearsal
from workers.runtime.outcomes import UnavailableError
from workers.store import prepare
from workers.store.prepare import Incoming

log = logging.getLogger("crossdock.store")


def decode(received: IncomingMessage, config: Config, quarantine_reason: str | None = None) -> Incoming:
    """Return what is to be written of one message. Raises UnavailableError.

    `quarantine_reason`: why the message is to be quarantined without being read.
    """
    if quarantine_reason is not None:
        return quarantine(received, prepare.FAILED, quarantine_reason, attempts=rehearsal.TRIES)
    # After a connection is lost during COMMIT it is unknown whether the message is stored, and what was committed must
    # be announced when the batch is handled again. That is noted with the message as it was received, not under its id:
    # a message can be in hand twice, and the copy that is done must not make the event of the other, which is still to
    # be announced, look announced. If the message returns to its queue instead, the broker marks it as redelivered.
    may_be_stored = received.redelivered or received.was_tried
    received.was_tried = True
    try:
        return prepare.prepare(received.encoded, received.body, config, may_be_stored=may_be_stored)
    except prepare.NotOurMessageError as error:
        return quarantine(received, prepare.UNREADABLE, str(error))
    except MemoryError:
        raise UnavailableError("this machine is out of memory") from None
    except Exception as error:
        # Decoding is a pure function of the message: what it raises once it raises always.
        log.exception("message failed")
        return quarantine(received, prepare.FAILED, f"{type(error).__name__}: {error}", attempts=1)


def quarantine(
    received: IncomingMessage, stage: str, reason: str, *, attempts: int = 0, routing_key: str | None = None
) -> Incoming:
    """Return a message for the quarantine, without decoding its body, and log that."""
    message = prepare.for_quarantine(
        received.encoded, received.body, stage, reason, envelope.now(), attempts=attempts, key=routing_key
    )
    log.error("message quarantined", extra={"id": str(message.message_id), "stage": stage, "reason": message.reason})
    return message
