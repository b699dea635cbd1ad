"""Reads redelivered messages in a copy of the store worker before the worker does, and finds those that end it.

The copy runs all of our own code that sees a message's bytes: decoding, deriving its version, the rows, and the event.
Nothing of it leaves the copy.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from broker.consumer import IncomingMessage
from schemas import documents, registry
from schemas.config import Config
from workers.runtime import rehearsal
from workers.store import announce, prepare
from workers.store.allocations import ManufacturerNotice
from workers.store.prepare import Incoming
from workers.store.rows import document_row, identifier_rows, receipt_row, version_row
from workers.store.versions import StoredVersion, group_by_document

MAX_REMEMBERED = 1000
"""Messages whose suspicion or conviction is remembered."""

Fingerprint = tuple[int, int]


class Rehearsals:
    """Rehearses redelivered messages, and remembers which ended a copy of this process."""

    def __init__(self) -> None:
        self._suspects: dict[Fingerprint, str] = {}
        """How a copy of this process ended that read a message, until there is a conviction."""
        self._convictions: dict[Fingerprint, str] = {}
        """Why messages are to blame."""

    async def find_suspects(self, batch: Sequence[IncomingMessage], config: Config) -> dict[int, str]:
        """Return the redelivered messages that ended a copy of this process, by index, each with the reason.

        Raises UnavailableError.
        """
        redelivered = {index: _fingerprint(message) for index, message in enumerate(batch) if message.redelivered}
        suspects = {index: self._suspects[print_] for index, print_ in redelivered.items() if print_ in self._suspects}
        unknown = [index for index, print_ in redelivered.items() if print_ not in self._suspects]
        if unknown:
            work = partial(_read_one, [batch[index] for index in unknown], config)
            for place, reason in (await rehearsal.find_suspects(len(unknown), work)).items():
                index = unknown[place]
                suspects[index] = reason
                # Remembered until there is a conviction: a trial takes longer than some connections last.
                _remember(self._suspects, redelivered[index], reason)
        return suspects

    async def convict(self, message: IncomingMessage, suspicion: str, config: Config) -> str | None:
        """Return the reason if a suspect is to blame, or None. Raises UnavailableError."""
        print_ = _fingerprint(message)
        if print_ not in self._convictions:
            work = partial(_read_one, [message], config)
            conviction = await rehearsal.convict(0, suspicion, work, control=read_example)
            if conviction is None:
                self._suspects.pop(print_, None)
                return None
            _remember(self._convictions, print_, conviction)
        return self._convictions[print_]


def _fingerprint(message: IncomingMessage) -> Fingerprint:
    """Return what a message is recognised by when it is delivered again. Its headers differ: they count deliveries."""
    return len(message.body), hash(message.body)


def _remember(memory: dict[Fingerprint, str], fingerprint: Fingerprint, reason: str) -> None:
    while len(memory) >= MAX_REMEMBERED:
        del memory[next(iter(memory))]
    memory[fingerprint] = reason


def _read_one(batch: Sequence[IncomingMessage], config: Config, index: int) -> None:
    read(batch[index], config)


def read(received: IncomingMessage, config: Config) -> None:
    """Read one message. Raises whatever the worker would raise."""
    message = prepare.prepare(received.encoded, received.body, config)
    if message.document is not None:
        _make_rows_and_events(message)


def _make_rows_and_events(message: Incoming) -> None:
    (batch,) = group_by_document([message])
    batch.versions = batch.derive_versions(batch.messages)
    document_row(batch)
    receipt_row(0, message)
    stored = StoredVersion(0, message, batch.versions[-1])
    version_row(stored)
    identifier_rows([stored])
    notices = []
    if message.allocations is not None:
        manufacturers = tuple({allocation.manufacturer for allocation in message.allocations})
        notices = [ManufacturerNotice(message, UUID(int=0), 1, manufacturers, 0)]
    for _ in announce.events([stored], notices):
        pass


def read_example() -> None:
    """Read a document that is known to be harmless, as a control."""
    platform = next(iter(registry.platforms().values()))
    event = platform.events[0]
    documents.describe(platform, event.name, registry.example(platform.name, event.examples[0]))
