"""What a copy of the store worker reads of a message before the worker does: all of our own code that sees its bytes.

Decoding, working out its version, the rows, and the event; nothing of it leaves the copy.
"""

from uuid import UUID

from broker.consumer import IncomingMessage
from schemas import documents, registry
from schemas.config import Config
from workers.store import announce, prepare
from workers.store.allocations import ManufacturerNotice
from workers.store.prepare import Incoming
from workers.store.rows import document_row, receipt_row, version_row
from workers.store.versions import StoredVersion, group_by_document


def read(delivery: IncomingMessage, config: Config) -> None:
    """Read one message. Raises whatever the worker would meet."""
    message = prepare.prepare(delivery.encoded, delivery.body, config)
    if message.document is not None:
        _make_rows_and_events(message)


def _make_rows_and_events(message: Incoming) -> None:
    (batch,) = group_by_document([message])
    batch.versions = batch.derive_versions(batch.messages)
    document_row(batch)
    receipt_row(0, message)
    stored = StoredVersion(0, message, batch.versions[-1])
    version_row(stored)
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
