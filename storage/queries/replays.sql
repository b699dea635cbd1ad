-- name: count
-- Events received from $1 up to $2 that fit: of key $3, with a type of $4, and an account of both $5 and $6; $7: the types
-- that the dialect can say, null for all.
SELECT count(*)
FROM crossdock.versions v
JOIN crossdock.documents d ON d.id = v.document_id
WHERE v.received_at >= $1 AND v.received_at < $2
  AND ($3::text IS NULL OR d.key = $3)
  AND crossdock.fits(d.type, $4::text[])
  AND crossdock.fits(d.platform || '/' || d.account, $5::text[])
  AND crossdock.fits(d.platform || '/' || d.account, $6::text[])
  AND ($7::text[] IS NULL OR d.type = ANY ($7))

-- name: ask
INSERT INTO crossdock.replays (id, subscription_id, from_at, to_at, types, key, count)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: open
-- Those that aren't written yet and have fewer than so many deliveries waiting.
SELECT r.id
FROM crossdock.replays r
WHERE r.finished_at IS NULL AND (SELECT count(*) FROM crossdock.outbox o WHERE o.replay_id = r.id) < $1
ORDER BY r.created_at
LIMIT 100

-- name: take
SELECT r.subscription_id, r.from_at, r.to_at, r.types, r.key, r.after_at, r.after_id, s.accounts, s.subscriber, s.dialect
FROM crossdock.replays r
JOIN crossdock.subscribed s ON s.id = r.subscription_id
WHERE r.id = $1 AND r.finished_at IS NULL
FOR UPDATE OF r SKIP LOCKED

-- name: piece
-- The next events in the order they were received, by the receipts' own key: no table is read from its beginning.
SELECT v.id, r.received_at, r.message_id, d.id AS document_id, v.version, d.type, d.key
FROM crossdock.receipts r
JOIN crossdock.versions v
    ON v.document_id = r.document_id AND v.received_at = r.received_at AND v.message_id = r.message_id
JOIN crossdock.documents d ON d.id = r.document_id
WHERE r.received_at >= $1 AND r.received_at < $2
  AND ($8::timestamptz IS NULL OR (r.received_at, r.message_id) > ($8, $9::uuid))
  AND ($3::text IS NULL OR d.key = $3)
  AND crossdock.fits(d.type, $4::text[])
  AND crossdock.fits(d.platform || '/' || d.account, $5::text[])
  AND crossdock.fits(d.platform || '/' || d.account, $6::text[])
  AND ($7::text[] IS NULL OR d.type = ANY ($7))
ORDER BY r.received_at, r.message_id
LIMIT $10

-- name: write
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, received_at, event_id, message_id, replay_id, document_id, version, type, key
)
SELECT e.id, $1, now(), e.received_at, e.event_id, e.message_id, $2, e.document_id, e.version, e.type, e.key
FROM unnest($3::uuid[], $4::uuid[], $5::timestamptz[], $6::uuid[], $7::bigint[], $8::int[], $9::text[], $10::text[])
     AS e (id, event_id, received_at, message_id, document_id, version, type, key)
ON CONFLICT (id) DO NOTHING

-- name: advance
UPDATE crossdock.replays
SET written = written + $2, after_at = $3, after_id = $4, finished_at = CASE WHEN $5 THEN now() END
WHERE id = $1

-- name: progress
SELECT r.count, r.written, r.finished_at IS NOT NULL AS written_all,
       (SELECT count(*) FROM crossdock.outbox o WHERE o.replay_id = r.id) AS waiting
FROM crossdock.replays r
WHERE r.id = $1
