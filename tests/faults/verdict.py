"""What became of what was posted: the ledger held against the database, the subscribers and the consumer."""

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
FROM unnest($1::text[], $2::text[]) AS asked (type, key)
JOIN crossdock.documents d USING (type, key)
JOIN crossdock.versions v ON v.document_id = d.id
GROUP BY d.id
"""
"""A document counts the repeats of its newest version itself; that version's own number is from when it was written."""
INNOCENT = """
SELECT count(*) FROM crossdock.quarantine
WHERE id <> ALL ($1::uuid[]) AND ($2::bytea IS NULL OR position($2 IN raw) = 0)
"""
ALLOCATED = """
SELECT order_id, json_object_agg(order_product_id, manufacturer_id)::text AS answer
FROM crossdock.allocations
WHERE order_id = ANY ($1::text[])
GROUP BY 1
"""


COUNTS = (
    "missing", "twice", "not delivered", "not on the queue", "content differs", "beyond the limit",
    "wrongly quarantined", "dead or unrouted",
)  # fmt: skip
"""The names of `Verdict.counts` in reports."""


class Verdict(msgspec.Struct):
    """Each of these is to be zero."""

    missing: int = 0
    """Acknowledged, and not stored as what it was."""
    twice: int = 0
    """Versions, receipts or counts beyond what was posted."""
    undelivered: int = 0
    """Stored, and not delivered to a subscriber that wants it."""
    unheard: int = 0
    """Stored, and not on the consumer's queue; a manufacturer's part that was answered, too."""
    differently: int = 0
    """Orders of which two answers, or the answer and the table, differ."""
    crowded: int = 0
    """Calls beyond what a subscription allows at a time: somebody sent without the lease."""
    wrong: int = 0
    """Calls that were not as their dialect wants them."""
    innocent: int = 0
    """Messages in quarantine that nothing is wrong with."""
    dead: int = 0
    """Messages left in `crossdock.dead` and `crossdock.unrouted`."""

    @property
    def counts(self) -> tuple[int, ...]:
        """One number for each of COUNTS."""
        beyond_limit = self.crowded + self.wrong
        delivered = (self.missing, self.twice, self.undelivered, self.unheard, self.differently)
        return (*delivered, beyond_limit, self.innocent, self.dead)

    @property
    def arrived(self) -> bool:
        """Nothing is on its way any more."""
        return not (self.missing or self.undelivered or self.unheard or self.dead)

    @property
    def clean(self) -> bool:
        return not any(msgspec.structs.astuple(self))

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in msgspec.structs.asdict(self).items() if count) or "clean"


async def judge(site: Site, posts: Sequence[Post]) -> Verdict:
    """What has become of these posts by now. Raises OSError, asyncpg's errors and TopologyError."""
    database = await site.database()
    try:
        verdict = await _judge(site, posts, database)
        if verdict.arrived:
            verdict.dead = await site.dead()
        return verdict
    finally:
        await database.close()


async def _judge(site: Site, posts: Sequence[Post], database: asyncpg.Connection) -> Verdict:
    verdict = Verdict(crowded=site.subscribers.crowded, wrong=len(site.subscribers.wrong))
    accepted = [post for post in posts if post.accepted and not site.is_poison(post.body.raw)]
    rows = await database.fetch(STORED, [post.id for post in accepted])
    stored = {row["message_id"]: (row["type"], row["key"]) for row in rows}
    verdict.innocent = await database.fetchval(INNOCENT, site.quarantined, site.poison)
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
    """One order that was answered: always the same, as the table says, and its manufacturers were told."""
    answer = msgspec.json.decode(answers[0], type=dict[str, str])
    verdict.differently += any(answer != answers[0] for answer in answers)
    if allocated is not None:  # else it is on its way, and its events are missed below
        verdict.differently += msgspec.json.decode(allocated, type=dict[str, str]) != answer
    for manufacturer in set(answer.values()):
        received = site.consumer.parts.get((order, manufacturer), set())
        verdict.unheard += not received
        verdict.undelivered += sum(name not in site.subscribers.received["standard"] for name in received)


def _count(site: Site, verdict: Verdict, row: asyncpg.Record) -> None:
    """One document: every post of it had the same content, so it has one version and no more receipts than posts."""
    posts = len(site.ledger.of(row["type"], row["key"]))
    counted = row["older"] - row["stale"] + row["times_received"]
    verdict.twice += len(row["versions"]) - 1 + max(0, row["receipts"] - posts) + abs(counted - row["receipts"])
    for version in map(str, row["versions"]):
        verdict.unheard += version not in site.consumer.received
        for dialect, types in TYPES.items():
            if dialects()[dialect].supports(row["type"]) and fits(row["type"], types):
                verdict.undelivered += version not in site.subscribers.received[dialect]
