"""Messages whose content was erased (contract §11): received again, they count, and their content stays erased.

That is content that a request erased, whenever it is received again, and repeats of a newest version that was erased by
age. Such a message is stored without its content, and is neither announced nor delivered.
"""

from collections.abc import Iterable

import msgspec

from schemas.documents import Document
from storage.database import Connection
from storage.privacy import ERASED
from storage.sql import query
from workers.store.prepare import Incoming
from workers.store.versions import DocumentBatch, receipt


async def erase_again(connection: Connection, documents: Iterable[DocumentBatch]) -> None:
    """Replace the messages that bring erased content of these locked documents again. Raises asyncpg's errors."""
    by_id = {document.document_id: document for document in documents if document.has_erased}
    if not by_id:
        return
    rows = await connection.fetch(query("store", "erased_contents"), list(by_id))
    contents = {(row["document_id"], row["digest"]) for row in rows}
    for id_, document in by_id.items():
        document.messages = [
            without_content(message) if (id_, receipt(message).digest) in contents else message
            for message in document.messages
        ]


def is_erased(document: Document | None) -> bool:
    """Return whether a document's content was erased."""
    return document is not None and ERASED in document.flags


def without_content(message: Incoming) -> Incoming:
    """Return a message without what an erasure removes (`storage/classification.toml`)."""
    document = message.document
    assert document is not None
    lines = tuple([msgspec.structs.replace(line, name=None, unreadable=None) for line in document.reading.lines])
    reading = msgspec.structs.replace(document.reading, lines=lines, ship_from=None, ship_to=None)
    flags = (*document.flags, ERASED)
    erased = msgspec.structs.replace(document, reading=reading, body=None, data=None, flags=flags)
    allocations = message.allocations
    if allocations is not None:
        allocations = [msgspec.structs.replace(item, detail=None) for item in allocations]
    return msgspec.structs.replace(message, raw=b"", document=erased, allocations=allocations)
