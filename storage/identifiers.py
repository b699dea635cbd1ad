"""What documents are found by: the hashes under which the store worker files them, and the search for these.

`crossdock.identifiers` has one row per version, with one key per number and article. A key is a hash of the text, of
what the text is (a number or an article), and of a bucket: a range of BUCKET document ids in which the version was
stored. A search goes through the buckets, the newest first, and ends when it has enough documents. So it reads few rows
for an article that every document holds, and few keys for a number that a single document has.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import blake2s
from struct import Struct, unpack

from storage import tables
from storage.database import Connection
from storage.sql import query

NUMBER, ARTICLE = "n", "a"
"""What a text is: an article does not hide the documents that have the same text as a number."""
BUCKET = 1 << 14
"""Documents per bucket. A search reads all rows of a bucket that hold the text, so buckets must be small, and looks up
a key per bucket, so they must be few."""
WINDOWS = (1, 8, 64)
"""Buckets that are searched at once, the newest first; after these, all others."""
MARGIN = 8
"""Buckets that are searched below the oldest document: it may have been merged with one that was older."""
MAX_KEYS = 1000
"""Maximum keys of one version. Whatever a document holds beyond these is not found by it."""
Row = tuple[int, datetime, list[bytes]]
"""Document id, time of receipt, and keys of one version."""

_COLUMNS = ("document_id", "received_at", "keys")
_ROW = Struct(">hiqiqiiiIii")
"""What precedes the keys of a row: number of columns, two columns with their lengths, length and head of the array."""
_ARRAY_HEAD = (1, 0, 20)
"""Of an array of bigint: one dimension, no nulls, the OID of its elements."""
_KEY_LENGTH = b"\0\0\0\x08"
_EPOCH, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
"""PostgreSQL's times count microseconds from here."""


def keys(holdings: Iterable[tuple[Collection[str], Collection[str]]], document_id: int) -> list[list[bytes]]:
    """Return the keys of each version, at most MAX_KEYS, given its numbers and its articles.

    They are filed in the bucket of `document_id`, which is among the newest documents when they are stored.
    """
    number, article = _prefix(NUMBER, document_id), _prefix(ARTICLE, document_id)
    result = []
    for numbers, articles in holdings:
        texts = [number + text for text in numbers]
        texts += [article + text for text in articles]
        result.append(_hashes(texts if len(texts) <= MAX_KEYS else sorted(texts, reverse=True)[:MAX_KEYS]))
    return result


async def insert(connection: Connection, rows: Iterable[Row]) -> None:
    """Add rows, except those without keys. Raises asyncpg's errors."""
    await tables.copy_encoded(connection, "identifiers", _COLUMNS, [_encoded(*row) for row in rows if row[2]])


def _encoded(document_id: int, received_at: datetime, keys: list[bytes]) -> bytes:
    """Return a row in the format of COPY. The driver takes three times as long for an array."""
    count = len(keys)
    moment = (received_at - _EPOCH) // _MICROSECOND
    head = _ROW.pack(len(_COLUMNS), 8, document_id, 8, moment, 20 + 12 * count, *_ARRAY_HEAD, count, 1)
    return head + _KEY_LENGTH + _KEY_LENGTH.join(keys)


async def newest_documents(connection: Connection, kind: str, text: str, limit: int) -> list[int]:
    """Return the ids of the newest documents that hold a text, which is a NUMBER or an ARTICLE, at most `limit`.

    The newest are those of which a version with this text was received last. Raises asyncpg's errors.
    """
    bounds = await connection.fetchrow(query("identifiers", "bounds"))
    if bounds is None or bounds["last"] is None:
        return []
    high, lowest = bounds["last"] // BUCKET, max(0, bounds["first"] // BUCKET - MARGIN)
    documents: dict[int, datetime] = {}
    for window in (*WINDOWS, high - lowest + 1):
        low = max(lowest, high - window + 1)
        hashes = _hashes(_prefix(kind, bucket * BUCKET) + text for bucket in range(low, high + 1))
        numbers = unpack(f">{len(hashes)}q", b"".join(hashes))
        for id_, received_at in await connection.fetch(query("identifiers", "holding"), numbers, limit):
            documents[id_] = max(received_at, documents.get(id_, received_at))
        high = low - 1
        if len(documents) >= limit or high < lowest:
            break
    return sorted(documents, key=lambda id_: documents[id_], reverse=True)[:limit]


def _prefix(kind: str, document_id: int) -> str:
    """Return what is hashed before a text that is filed in the bucket of a document id."""
    return f"{kind}{document_id // BUCKET}:"


def _hashes(texts: Iterable[str]) -> list[bytes]:
    """Return 64 bits of each text's BLAKE2s, as PostgreSQL encodes a bigint: no two texts in use have the same."""
    return [blake2s(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
