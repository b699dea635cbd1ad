"""What documents are found by: the hashes under which the store worker files them, and the search for these.

`crossdock.identifiers` has one row per version, with one key per number and article. A key is a hash of the text, of
what the text is (a number or an article), and of a bucket: a range of BUCKET document ids in which the version was
stored. A search goes through the buckets, the newest first, and ends when it has enough documents. So it reads few rows
for an article that every document holds, and few keys for a number that a single document has.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from itertools import islice

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
COLUMNS = ("document_id", "received_at", "keys")

Row = tuple[int, datetime, list[int]]
"""The values of COLUMNS."""


def keys(numbers: Iterable[str], articles: Iterable[str], document_id: int) -> list[int]:
    """Return at most MAX_KEYS keys of a version that is stored while `document_id` is among the newest documents."""
    number, article = _prefix(NUMBER, document_id // BUCKET), _prefix(ARTICLE, document_id // BUCKET)
    result = [_hash(number + text) for text in islice(dict.fromkeys(numbers), MAX_KEYS)]
    result += [_cached_hash(article, text) for text in islice(dict.fromkeys(articles), MAX_KEYS - len(result))]
    return result


async def insert(connection: Connection, rows: Iterable[Row]) -> None:
    """Add rows, except those without keys. Raises asyncpg's errors."""
    await tables.copy(connection, "identifiers", COLUMNS, [row for row in rows if row[2]])


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
        hashes = [_hash(_prefix(kind, bucket) + text) for bucket in range(low, high + 1)]
        for id_, received_at in await connection.fetch(query("identifiers", "holding"), hashes, limit):
            documents[id_] = max(received_at, documents.get(id_, received_at))
        high = low - 1
        if len(documents) >= limit or high < lowest:
            break
    return sorted(documents, key=lambda id_: documents[id_], reverse=True)[:limit]


def _prefix(kind: str, bucket: int) -> str:
    """Return what is hashed before a text."""
    return f"{kind}{bucket}:"


def _hash(text: str) -> int:
    """Return 64 bits of a text's SHA-256, as PostgreSQL's bigint: no two texts in use have the same."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big", signed=True)


@lru_cache(maxsize=16_384)
def _cached_hash(prefix: str, text: str) -> int:
    """Return what `_hash` does: documents hold the same articles again and again."""
    return _hash(prefix + text)
