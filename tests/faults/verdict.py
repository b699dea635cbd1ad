"""What became of each post: the ledger compared with the database, the subscribers and the consumer."""

from collections.abc import Sequence

import asyncpg
import msgspec

from schemas.dialects import dialects
from schemas.patterns import fits
from tests.faults.ledger import Post
from tests.faults.listeners import TYPES
from tests.faults.site import Site

STORED = """
SELECT r.message_id, d.type, d.key, v.id
FROM crossdock.receipts r
JOIN crossdock.documents d ON d.id = r.document_id
JOIN crossdock.versions v ON v.document_id = d.id
WHERE r.message_id = ANY ($1::uuid[])
"""
DOCUMENTS = """
SELECT d.type, d.key, array_agg(v.id) AS versions, sum(v.times_received)::int AS older, d.times_received,
       max(v.times_received) FILTER (WHERE v.id = d.version_id) AS stale,
       (SELECT count(*) FROM crossdock.receipts r WHERE r.document_id = d.id) AS receipts
FROM unnest($1::text[], $2::text[]) AS posted (type, key)
JOIN crossdock.documents d USING (type, key)
JOIN crossdock.versions v ON v.document_id = d.id
GROUP BY d.id
"""
"""A document counts the repeats of its newest version itself; the version's own count is from when it was written."""
WRONGLY_QUARANTINED = """
SELECT count(*) FROM crossdock.quarantine
WHERE id <> ALL ($1::uuid[]) AND ($2::bytea IS NULL OR position($2 IN raw) = 0)
"""
ALLOCATED = """
SELECT order_id, json_object_agg(order_product_id, manufacturer_id)::text AS answer
FROM crossdock.allocations
WHERE order_id = ANY ($1::text[])
GROUP BY 1
"""


class Verdict(msgspec.Struct):
    """What is wrong; each count is to be zero. The names of the fields are the columns of the report."""

    missing: int = 0
    """Posts that were acknowledged, but are not stored as the document that was posted."""
    twice: int = 0
    """Versions, receipts or counts beyond what was posted."""
    not_delivered: int = 0
    """Events that are stored, but that a matching subscriber did not receive."""
    not_on_the_queue: int = 0
    """Events that are stored, but that the consumer did not receive; also manufacturers named in an answer whose part
    of the order it did not receive."""
    content_differs: int = 0
    """Orders whose answers, or whose answer and table of allocations, differ from each other."""
    beyond_the_limit: int = 0
    """Calls at a subscriber beyond its subscription's concurrency: a worker sent without holding the lease."""
    invalid_calls: int = 0
    """Calls at a subscriber that are not as its dialect requires."""
    wrongly_quarantined: int = 0
    """Messages in quarantine that are not defective."""
    dead_or_unrouted: int = 0
    """Messages left in `crossdock.dead` and `crossdock.unrouted`."""

    @property
    def counts(self) -> dict[str, int]:
        """Every count by its name in COUNTS."""
        return dict(zip(COUNTS, msgspec.structs.astuple(self), strict=True))

    @property
    def arrived(self) -> bool:
        """Return whether everything that was accepted has reached all its destinations."""
        return not (self.missing or self.not_delivered or self.not_on_the_queue or self.dead_or_unrouted)

    @property
    def clean(self) -> bool:
        return not any(self.counts.values())

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in self.counts.items() if count) or "clean"


COUNTS = tuple(field.replace("_", " ") for field in Verdict.__struct_fields__)
"""The names of the counts in reports, and for `suite.Mutation.shows`."""


async def judge(site: Site, posts: Sequence[Post]) -> Verdict:
    """Return what has become of these posts so far. Raises OSError, asyncpg's errors and TopologyError."""
    database = await site.database()
    try:
        verdict = await _judge(site, posts, database)
        if verdict.arrived:
            verdict.dead_or_unrouted = await site.dead()
        return verdict
    finally:
        await database.close()


async def _judge(site: Site, posts: Sequence[Post], database: asyncpg.Connection) -> Verdict:
    subscribers = site.subscribers
    verdict = Verdict(beyond_the_limit=subscribers.beyond_limit, invalid_calls=len(subscribers.invalid))
    accepted = [post for post in posts if post.accepted and not site.is_poison(post.body.raw)]
    rows = await database.fetch(STORED, [post.id for post in accepted])
    stored = {row["message_id"]: (row["type"], row["key"]) for row in rows}
    verdict.wrongly_quarantined = await database.fetchval(WRONGLY_QUARANTINED, site.quarantined, site.poison)
    verdict.missing = sum(stored.get(post.id) != (post.body.type, post.body.key) for post in accepted)
    keys = sorted({(post.body.type, post.body.key) for post in posts if not site.is_poison(post.body.raw)})
    documents = await database.fetch(DOCUMENTS, [type_ for type_, _ in keys], [key for _, key in keys])
    for row in documents:
        _count(site, verdict, row)
    answered: dict[str, list[bytes]] = {}
    for post in accepted:
        if post.body.platform == "ustore":
            answered.setdefault(post.body.key, []).append(post.answer)
    allocated = {row["order_id"]: row["answer"] for row in await database.fetch(ALLOCATED, list(answered))}
    for order, answers in answered.items():
        _compare(site, verdict, order, answers, allocated.get(order))
    return verdict


def _compare(site: Site, verdict: Verdict, order: str, answers: Sequence[bytes], allocated: str | None) -> None:
    """Check an order that was answered: all answers are equal, the table agrees, and its manufacturers have their
    events."""
    answer = msgspec.json.decode(answers[0], type=dict[str, str])
    verdict.content_differs += any(other != answers[0] for other in answers)
    if allocated is not None:  # otherwise the order is not stored yet, and its events are counted as missing below
        verdict.content_differs += msgspec.json.decode(allocated, type=dict[str, str]) != answer
    for manufacturer in set(answer.values()):
        received = site.consumer.parts.get((order, manufacturer), set())
        verdict.not_on_the_queue += not received
        verdict.not_delivered += sum(name not in site.subscribers.received["standard"] for name in received)


def _count(site: Site, verdict: Verdict, row: asyncpg.Record) -> None:
    """Check a document: all its posts had the same content, so it has one version and no more receipts than posts."""
    posts = len(site.ledger.of(row["type"], row["key"]))
    counted = row["older"] - row["stale"] + row["times_received"]
    verdict.twice += len(row["versions"]) - 1 + max(0, row["receipts"] - posts) + abs(counted - row["receipts"])
    for version in map(str, row["versions"]):
        verdict.not_on_the_queue += version not in site.consumer.received
        for dialect, types in TYPES.items():
            if dialects()[dialect].supports(row["type"]) and fits(row["type"], types):
                verdict.not_delivered += version not in site.subscribers.received[dialect]
