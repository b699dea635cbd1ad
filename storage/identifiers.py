"""What documents are found by: the hashes under which the store worker files them, and the search for these.

`crossdock.identifiers` has one row per version, with one key per number and article. A key is a hash of the text, of
what the text is (a number or an article), and of a bucket: a range of BUCKET document ids in which the version was
stored. A search goes through the buckets, the newest first, and ends when it has enough documents. So it reads few rows
for an article that every document holds, and few keys for a number that a single document has.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2s
from struct import Struct, unpack

from storage import tables
from storage.database import Connection
from storage.sql import query

NUMBER, ARTICLE = "n", "a"
"""The kinds of identifiers. They are separate, so that many documents with an article don't hide those that have the
same text as a number."""
BUCKET = 1 << 14
"""Documents per bucket. A search reads all rows of a bucket that hold the text, so buckets must be small, and looks up
a key per bucket, so they must be few."""
WINDOWS = (1, 16)
"""Buckets of the windows that are searched one after the other, the newest first; after these, all others."""
MARGIN = 8
"""Buckets that are searched below the oldest document: it may have been merged with one that was older."""
MAX_REMEMBERED = 10_000
"""Maximum hashes that are remembered of a bucket's numbers or articles, in about two megabytes."""
MAX_KEYS = 1000
"""Maximum keys of one version. Whatever a document holds beyond these is not found by it."""
Row = tuple[int, datetime, Collection[str], Collection[str]]
"""Document id, time of receipt, numbers and articles of one version."""

COLUMNS = ("document_id", "received_at", "keys")
_BEGINNING = Struct(">hiqiq")
"""Of a row: the number of columns, and the first two with their lengths."""
_ARRAY = Struct(">iiiIii")
"""Length and head of an array: number of dimensions, flags, OID of the elements, number of elements, first index."""
_BIGINT = 20
_KEY_LENGTH = b"\0\0\0\x08"
_EPOCH, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
"""PostgreSQL's times count microseconds from here."""


async def insert(connection: Connection, rows: Iterable[Row]) -> None:
    """File new versions, in the bucket of the newest of their documents. Raises asyncpg's errors."""
    await tables.copy_encoded(connection, "identifiers", COLUMNS, _encoded(list(rows)))


def _encoded(rows: Sequence[Row]) -> list[bytes]:
    """Return rows in the format of COPY, in pieces; those without keys are left out.

    The driver would take three times as long, and this is done for every document that is stored.
    """
    bucket = max((row[0] for row in rows), default=0) // BUCKET
    number, article = _hashes(NUMBER, bucket), _hashes(ARTICLE, bucket)
    pieces: list[bytes] = []
    for document_id, received_at, numbers, articles in rows:
        if len(numbers) + len(articles) > MAX_KEYS:
            numbers = sorted(numbers)[:MAX_KEYS]
            articles = sorted(articles)[: MAX_KEYS - len(numbers)]
        keys = [number[text] for text in numbers]
        keys += [article[text] for text in articles]
        if keys:
            moment = (received_at - _EPOCH) // _MICROSECOND
            pieces += (_BEGINNING.pack(3, 8, document_id, 8, moment), _array_head(len(keys)), _KEY_LENGTH.join(keys))
    return pieces


@lru_cache(maxsize=64)
def _array_head(count: int) -> bytes:
    """Return what precedes the first of an array's keys."""
    return _ARRAY.pack(20 + 12 * count, 1, 0, _BIGINT, count, 1) + _KEY_LENGTH


async def newest_documents(connection: Connection, text: str, limit: int) -> dict[str, list[int]]:
    """Return the ids of the newest documents that hold a text, at most `limit` as NUMBER and as many as ARTICLE.

    The newest are those of which a version with this text was received last. Raises asyncpg's errors.
    """
    keys = [
        _keys(kind, text, *window) for window in _windows(*await _buckets(connection)) for kind in (NUMBER, ARTICLE)
    ]
    rows_at_most = limit
    while True:
        newest: dict[str, dict[int, datetime]] = {NUMBER: {}, ARTICLE: {}}
        rows = await connection.fetch(query("identifiers", "holding"), *keys, rows_at_most)
        for kind, id_, received_at in rows:
            newest[kind][id_] = max(received_at, newest[kind].get(id_, received_at))
        counts = Counter(row["kind"] for row in rows)
        if all(counts[kind] < rows_at_most or len(newest[kind]) >= limit for kind in newest):
            break
        rows_at_most *= 2  # a document that moved on was counted in several windows
    return {
        kind: sorted(documents, key=lambda id_: documents[id_], reverse=True)[:limit]
        for kind, documents in newest.items()
    }


def _windows(lowest: int, highest: int) -> list[tuple[int, int]]:
    """Return the buckets that are searched one window after the other, as the lowest and the highest of each."""
    windows = []
    for size in (*WINDOWS, highest - lowest + 1):
        low = max(lowest, highest - size + 1)
        windows.append((low, highest))
        highest = low - 1
    return windows


async def is_known(connection: Connection, text: str) -> bool:
    """Return whether a document has a text as its key or order number, or one of the newest as a number or an article.

    Those are the documents of the first two windows, because this is asked only for a hint. Raises asyncpg's errors.
    """
    newest, others, _ = _windows(*await _buckets(connection))
    keys = [[key for kind in (NUMBER, ARTICLE) for key in _keys(kind, text, *window)] for window in (newest, others)]
    return bool(await connection.fetchval(query("identifiers", "is_known"), text, *keys))


async def _buckets(connection: Connection) -> tuple[int, int]:
    """Return the lowest and the highest bucket that hold documents; the highest is lower if there are none."""
    bounds = await connection.fetchrow(query("identifiers", "bounds"))
    if bounds is None or bounds["last"] is None:
        return 0, -1
    return max(0, bounds["first"] // BUCKET - MARGIN), bounds["last"] // BUCKET


def _keys(kind: str, text: str, low: int, high: int) -> tuple[int, ...]:
    """Return the keys of a text in these buckets, the newest first."""
    encoded = f":{text}".encode("utf-8", "surrogatepass")
    hashes = b"".join(
        [
            blake2s(b"%b%d%b" % (kind.encode(), bucket, encoded), digest_size=8).digest()
            for bucket in range(high, low - 1, -1)
        ]
    )
    return unpack(f">{len(hashes) // 8}q", hashes)


class _Hashes(dict[str, bytes]):
    """The hash by text in one bucket: 64 bits of BLAKE2s, as PostgreSQL encodes a bigint.

    No two texts in use have the same hash. Hashes are remembered, because documents hold the same articles, orders and
    customers again and again.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, text: str) -> bytes:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        encoded = (self._prefix + text).encode("utf-8", "surrogatepass")
        self[text] = result = blake2s(encoded, digest_size=8).digest()
        return result


@lru_cache(maxsize=8)
def _hashes(kind: str, bucket: int) -> _Hashes:
    """Return the hashes of numbers or of articles in a bucket; workers use those of the newest buckets all the time."""
    return _Hashes(f"{kind}{bucket}:")
