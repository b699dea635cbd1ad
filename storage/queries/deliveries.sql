-- name: listing
-- Newest first, starting before ($5, $6). Each half of the view, pending and finished, uses its own index.
SELECT * FROM (
    (SELECT d.* FROM crossdock.deliveries d
     JOIN crossdock.subscribed s ON s.id = d.subscription_id
     WHERE ($1::uuid IS NULL OR d.subscription_id = $1)
       AND ($2::text IS NULL OR s.subscriber = $2)
       AND ($3::text IS NULL OR d.status = $3)
       AND ($4::text IS NULL OR d.key = $4)
       AND ($5::timestamptz IS NULL OR (d.created_at, d.id) < ($5, $6::uuid))
     ORDER BY d.created_at DESC, d.id DESC
     LIMIT $7)
) found
ORDER BY created_at DESC, id DESC

-- name: listing_unsuccessful
-- Deliveries of a subscription that ended without success. They are few and have an index of their own.
SELECT f.id, f.subscription_id, f.event_id, f.type, f.key, f.status, f.attempts, NULL::timestamptz AS next_attempt_at,
       f.created_at, f.finished_at, f.version, f.replay_id, f.document_id
FROM crossdock.finished f
JOIN crossdock.subscribed s ON s.id = f.subscription_id
WHERE f.subscription_id = $1
  AND ($2::text IS NULL OR s.subscriber = $2)
  AND f.status = $3 AND f.status <> 'delivered'
  AND ($4::text IS NULL OR f.key = $4)
  AND ($5::timestamptz IS NULL OR (f.created_at, f.id) < ($5, $6::uuid))
ORDER BY f.created_at DESC, f.id DESC
LIMIT $7

-- name: listing_of_key
-- Deliveries of one business key, found through the documents that have it.
SELECT d.*
FROM crossdock.documents found
CROSS JOIN LATERAL (SELECT * FROM crossdock.deliveries d WHERE d.document_id = found.id OFFSET 0) d
JOIN crossdock.subscribed s ON s.id = d.subscription_id
WHERE found.key = $4
  AND ($1::uuid IS NULL OR d.subscription_id = $1)
  AND ($2::text IS NULL OR s.subscriber = $2)
  AND ($3::text IS NULL OR d.status = $3)
  AND ($5::timestamptz IS NULL OR (d.created_at, d.id) < ($5, $6::uuid))
ORDER BY d.created_at DESC, d.id DESC
LIMIT $7

-- name: get
SELECT d.* FROM crossdock.deliveries d
JOIN crossdock.subscribed s ON s.id = d.subscription_id
WHERE d.id = $1 AND ($2::text IS NULL OR s.subscriber = $2)
ORDER BY d.finished_at DESC NULLS FIRST
LIMIT 1

-- name: attempts
SELECT attempt, at, outcome, status_code, duration_ms, response, error
FROM crossdock.delivery_attempts
WHERE delivery_id = $1
ORDER BY at

-- name: due_now
-- Nothing is sent for a deleted subscription.
UPDATE crossdock.outbox o SET next_attempt_at = now()
FROM crossdock.subscribed s
WHERE o.id = $1 AND s.id = o.subscription_id AND s.deleted_at IS NULL
RETURNING o.id

-- name: back_to_outbox
-- A finished delivery becomes pending again and keeps its number of attempts. Nothing is sent for a deleted
-- subscription.
WITH back AS (
    DELETE FROM crossdock.finished f
    USING crossdock.subscribed s
    WHERE f.id = $1 AND f.finished_at = $2 AND s.id = f.subscription_id AND s.deleted_at IS NULL
    RETURNING f.*
)
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, created_at, received_at, event_id, message_id, replay_id, document_id,
    version, attempts, type, key, payload
)
SELECT id, subscription_id, now(), created_at, received_at, event_id, message_id, replay_id, document_id, version,
       attempts, type, key, payload
FROM back
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: cancel
WITH gone AS (
    DELETE FROM crossdock.outbox WHERE id = $1 RETURNING *
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'cancelled', payload
FROM gone
RETURNING id

-- name: sender
-- The subscriber of a delivery and the account of its document. The subscription is neither changed nor deleted until
-- the transaction ends.
SELECT s.subscriber, s.deleted_at IS NOT NULL AS is_gone, d.platform || '/' || d.account AS account
FROM crossdock.deliveries found
JOIN crossdock.subscribed s ON s.id = found.subscription_id
LEFT JOIN crossdock.documents d ON d.id = found.document_id
WHERE found.id = $1
FOR SHARE OF s

-- name: cancelled
-- Workers that have read the content of a cancelled delivery discard it.
SELECT pg_notify('crossdock_outbox', 'cancelled')

-- name: newest_for_test
-- The newest $5 events that `test` may send: the newest versions among the $4 newest documents of each source ($1, $2,
-- $3).
SELECT v.id, d.id AS document_id, d.type, d.key, v.version, v.received_at, v.message_id
FROM unnest($1::text[], $2::text[], $3::text[]) AS s (platform, account, type)
CROSS JOIN LATERAL (
    SELECT d.id, d.version_id, d.received_at, d.type, d.key
    FROM crossdock.documents d
    WHERE d.platform = s.platform AND d.account = s.account AND d.type = s.type
    ORDER BY d.id DESC
    LIMIT $4
) d
CROSS JOIN LATERAL (
    SELECT v.id, v.received_at, v.message_id, v.version
    FROM crossdock.versions v
    WHERE v.id = d.version_id AND v.received_at = d.received_at AND NOT 'erased' = ANY (v.flags)
    OFFSET 0
) v
ORDER BY d.received_at DESC, d.id DESC
LIMIT $5

-- name: test
-- A delivery of one stored event, sent to one subscription alone.
INSERT INTO crossdock.outbox (
    id, subscription_id, next_attempt_at, received_at, event_id, message_id, document_id, version, type, key
)
VALUES ($1, $2, now(), $3, $4, $5, $6, $7, $8, $9)
