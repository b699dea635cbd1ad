"""Decodes deliveries, and remembers which messages in hand may be stored without being announced yet."""

import logging
from collections import Counter
from collections.abc import Sequence, Set
from uuid import UUID

from broker.consumer import IncomingMessage
from schemas import envelope
from schemas.config import Config
from workers.runtime import rehearsal
from workers.runtime.outcomes import UnavailableError
from workers.store import prepare
from workers.store.prepare import Incoming

log = logging.getLogger("crossdock.store")


class Intake:
    """Turns deliveries into messages to write. `forget` must be called once they are announced."""

    def __init__(self) -> None:
        self._unannounced: Counter[str] = Counter()
        """By message id, the number of deliveries in hand that may be stored and whose events are not confirmed yet."""

    def prepare(self, delivery: IncomingMessage, config: Config, culprit: str | None = None) -> Incoming:
        """Return what is to be written of one message, and remember it as unannounced. Raises UnavailableError.

        `culprit`: why the message is to be quarantined without being read.
        """
        if culprit is not None:
            return halt(delivery, prepare.FAILED, culprit, attempts=rehearsal.TRIES)
        try:
            message = prepare.prepare(
                delivery.encoded,
                delivery.body,
                config,
                redelivered=delivery.redelivered,
                unannounced=self._unannounced,
            )
        except prepare.NotOurMessageError as error:
            return halt(delivery, prepare.UNREADABLE, str(error))
        except MemoryError:
            raise UnavailableError("this machine is out of memory") from None
        except Exception as error:
            # Decoding is a pure function of the message: what it raises once it raises always.
            log.exception("message failed")
            return halt(delivery, prepare.FAILED, f"{type(error).__name__}: {error}", attempts=1)
        # Before the write: after a connection is lost during COMMIT it is unknown whether the message is stored, and
        # what was committed must be announced when the batch is handled again. Deliveries are counted, because a
        # message can be in hand twice: the delivery that is done must not make the event of the other, which is still
        # to be announced, look announced.
        if not delivery.is_noted:
            delivery.is_noted = True
            self._unannounced[message.envelope.message_id] += 1
        return message

    def forget(
        self, batch: Sequence[IncomingMessage], incoming: Sequence[Incoming], held: Set[UUID] = frozenset()
    ) -> None:
        """Note that these deliveries are announced, except those of messages that are held."""
        unannounced = self._unannounced
        for delivery, message in zip(batch, incoming, strict=True):
            if delivery.is_noted and message.message_id not in held:
                delivery.is_noted = False
                message_id = message.envelope.message_id
                if unannounced[message_id] > 1:
                    unannounced[message_id] -= 1
                else:
                    unannounced.pop(message_id, None)

    def clear(self) -> None:
        """Forget all deliveries; the broker marks them as redelivered when it delivers them again."""
        self._unannounced.clear()


def halt(
    delivery: IncomingMessage, stage: str, reason: str, *, attempts: int = 0, routing_key: str | None = None
) -> Incoming:
    """Return a message for the quarantine, without decoding its body, and log that."""
    message = prepare.halted(
        delivery.encoded, delivery.body, stage, reason, envelope.now(), attempts=attempts, key=routing_key
    )
    log.error("message halted", extra={"id": str(message.message_id), "stage": stage, "reason": message.reason})
    return message
