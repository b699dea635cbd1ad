"""Versions of a document, as a pure function of the set of its receipts.

Receipts are sorted by the time when they were received, and each run of equal content is a version. So any order of
processing, any repetition and any number of workers lead to the same versions under the same ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from schemas.documents import Document
from workers.store.ids import DocumentKey, version_id
from workers.store.prepare import Incoming

REVISED = "revised"
"""Flag: an order that changed."""
REPEAT_SUSPECTED = "repeat_suspected"
"""Flag: the same content as the version before, but too late to be taken for a repeat."""


class Receipt(msgspec.Struct, frozen=True, order=True, gc=False):
    """One accepted post of a document, reduced to what its versions depend on. Sorts by time, then by message id."""

    received_at: datetime
    message_id: UUID
    digest: bytes


class Version(msgspec.Struct, frozen=True, gc=False):
    """A run of receipts with equal content."""

    id: UUID
    number: int
    """Counted from 1 within the document."""
    digest: bytes
    occurrence: int
    """Number of earlier versions of the document with the same content."""
    first: Receipt
    last_received_at: datetime
    times_received: int = 1
    is_repeat: bool = False
    """Whether the version before has the same content, and this one came after the repeat window."""


def derive_versions(
    document: DocumentKey,
    receipts: Iterable[Receipt],
    window_seconds: float | None,
    *,
    previous: Version | None = None,
    occurrences: Mapping[bytes, int] | None = None,
) -> list[Version]:
    """Return the versions of a document, oldest first.

    Equal content counts as a new version after `window_seconds`; None: never. If `previous` is given, the receipts
    continue from that version, which comes first and counts those that repeat it. `occurrences` then holds the number
    of versions so far by digest, `previous` included.
    """
    ordered = list(receipts)
    if previous is None and len(ordered) == 1:
        (only,) = ordered  # nearly always
        return [Version(version_id(document, only.digest, 0), 1, only.digest, 0, only, only.received_at)]
    ordered.sort()
    versions: list[Version] = [] if previous is None else [previous]
    counts = dict(occurrences or {})
    for receipt in ordered:
        newest = versions[-1] if versions else None
        is_same = newest is not None and newest.digest == receipt.digest
        if newest is not None and is_same and _is_within(newest.last_received_at, receipt.received_at, window_seconds):
            versions[-1] = msgspec.structs.replace(
                newest,
                last_received_at=max(newest.last_received_at, receipt.received_at),
                times_received=newest.times_received + 1,
            )
            continue
        occurrence = counts.get(receipt.digest, 0)
        counts[receipt.digest] = occurrence + 1
        versions.append(
            Version(
                id=version_id(document, receipt.digest, occurrence),
                number=1 if newest is None else newest.number + 1,
                digest=receipt.digest,
                occurrence=occurrence,
                first=receipt,
                last_received_at=receipt.received_at,
                is_repeat=is_same,
            )
        )
    return versions


def is_continuation(newest: Version, receipts: Iterable[Receipt]) -> bool:
    """Return whether these receipts only continue from a document's newest version, whatever else it has.

    Each was received after everything else, or repeats the newest version while it lasted. Neither splits or joins
    versions, or changes an earlier one.
    """
    return all(
        receipt.received_at > newest.last_received_at
        or (receipt.digest == newest.digest and receipt.received_at > newest.first.received_at)
        for receipt in receipts
    )


def _is_within(last: datetime, now: datetime, window_seconds: float | None) -> bool:
    return window_seconds is None or (now - last).total_seconds() <= window_seconds


class StoredVersion(msgspec.Struct, frozen=True, gc=False):
    """A version with the message that it begins with, from which its row and its event are made."""

    document_id: int
    message: Incoming
    version: Version

    @property
    def id(self) -> UUID:
        return self.version.id

    @property
    def document(self) -> Document:
        assert self.message.document is not None
        return self.message.document


class DocumentBatch(msgspec.Struct):
    """The messages of one batch that belong to one document.

    The steps of the transaction (`workers.store.write`) fill in the other attributes.
    """

    key: DocumentKey
    messages: list[Incoming]
    is_merged: bool = False
    """Whether step 2 has just merged other documents into it: its versions are derived again from the first on."""
    versions: list[Version] = []
    """Step 3: the versions that it has if these messages are its only receipts."""
    document_id: int = 0
    """Step 3: the row's id; 0 until then."""
    is_created: bool = False
    """Step 3: whether this batch created the document."""
    has_erased: bool = False
    """Step 3: whether some of its content was erased."""
    new_messages: list[Incoming] = []
    """Step 4: the messages that were not stored before."""

    @property
    def id_key(self) -> DocumentKey:
        """The key that version ids are derived from. It leaves out a business key that a later message may improve."""
        reading = self.document.reading
        return self.key if reading.scope is None else (*self.key[:3], reading.scope)

    @property
    def document(self) -> Document:
        """The document of the first message; all of them have the same type, and what depends on it."""
        document = self.messages[0].document
        assert document is not None
        return document

    def derive_versions(
        self,
        messages: Iterable[Incoming],
        previous: Version | None = None,
        occurrences: Mapping[bytes, int] | None = None,
    ) -> list[Version]:
        """Return the versions that these messages make, from `previous` on."""
        receipts = [receipt(message) for message in messages]
        window = self.document.reading.repeat_window
        return derive_versions(self.id_key, receipts, window, previous=previous, occurrences=occurrences)

    def stored(self, versions: Sequence[Version]) -> list[StoredVersion]:
        """Return versions with the messages of this batch that they begin with."""
        if len(self.messages) == 1:
            return [StoredVersion(self.document_id, self.messages[0], version) for version in versions]
        by_id = {message.message_id: message for message in self.messages}
        return [StoredVersion(self.document_id, by_id[version.first.message_id], version) for version in versions]


def group_by_document(batch: Iterable[Incoming], merged: frozenset[DocumentKey] = frozenset()) -> list[DocumentBatch]:
    """Return the readable messages by document, in the one order in which all workers lock documents.

    A message that occurs twice counts once. `merged`: documents into which others were merged.
    """
    by_key: dict[DocumentKey, dict[UUID, Incoming]] = {}
    for message in batch:
        if message.document is None:
            continue
        reading, envelope = message.document.reading, message.envelope
        messages = by_key.setdefault((envelope.platform, envelope.account, reading.type, reading.key), {})
        duplicate = messages.get(message.message_id)
        if duplicate is not None:
            # The request and the route worker's record of it, or one of them twice. Each may lack what the other has.
            message = msgspec.structs.replace(
                message,
                allocations=message.allocations or duplicate.allocations,
                may_be_stored=message.may_be_stored or duplicate.may_be_stored,
            )
        messages[message.message_id] = message
    return [
        DocumentBatch(key, list(messages.values()), is_merged=key in merged) for key, messages in sorted(by_key.items())
    ]


def receipt(message: Incoming) -> Receipt:
    """Return a message reduced to what versions depend on."""
    assert message.document is not None
    return Receipt(message.envelope.received_at, message.message_id, message.document.digest)


def flags(content: Iterable[str], version: Version, *, revisable: bool) -> list[str]:
    """Return the flags of a version: those of its content, and those of its place among the others."""
    result = list(content)
    if version.number > 1 and revisable:
        result.append(REVISED)
    if version.is_repeat:
        result.append(REPEAT_SUSPECTED)
    return result
