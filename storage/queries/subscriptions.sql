-- name: create
INSERT INTO crossdock.subscribed (
    id, subscriber, url, types, accounts, dialect, webhook_type, query_key, schedule, max_rate, max_in_flight, enabled,
    sealed, filter, payload
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
RETURNING *

-- name: get
-- $2: the subscriber that must own it; null for the operator, who sees all.
SELECT * FROM crossdock.subscribed
WHERE id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR subscriber = $2)

-- name: lock
SELECT * FROM crossdock.subscribed
WHERE id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR subscriber = $2)
FOR NO KEY UPDATE

-- name: share
-- Prevents changes and deletion until the end of the transaction. Leasing the subscription waits as well, so keep the
-- transaction short.
SELECT * FROM crossdock.subscribed
WHERE id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR subscriber = $2)
FOR SHARE

-- name: lock_quota
-- Registrations of one subscriber run one after the other, so that together they cannot exceed its quota.
SELECT pg_advisory_xact_lock(hashtextextended('crossdock subscriptions of ' || $1::text, 0))

-- name: count
SELECT count(*) FROM crossdock.subscribed WHERE subscriber = $1 AND deleted_at IS NULL

-- name: listing
-- Oldest first, starting after ($2, $3).
SELECT * FROM crossdock.subscribed
WHERE deleted_at IS NULL AND ($1::text IS NULL OR subscriber = $1)
  AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3::uuid))
  AND ($5::boolean IS NULL OR (webhook_type IS NOT NULL) = $5)
ORDER BY created_at, id
LIMIT $4

-- name: update
UPDATE crossdock.subscribed
SET url = $2, types = $3, accounts = $4, dialect = $5, webhook_type = $6, query_key = $7, schedule = $8, max_rate = $9,
    max_in_flight = $10, enabled = $11, disabled_reason = $12, sealed = $13, filter = $14, payload = $15, updated_at = now()
WHERE id = $1
RETURNING *

-- name: delete
-- The row stays as long as its deliveries are kept, because they refer to it; its secrets are deleted at once.
UPDATE crossdock.subscribed
SET deleted_at = now(), enabled = false, leased_until = NULL, leased_by = NULL, sealed = ''
WHERE id = $1

-- name: cancel_waiting
-- Cancels the pending deliveries of a deleted subscription.
WITH gone AS (
    DELETE FROM crossdock.outbox WHERE subscription_id = $1 RETURNING *
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'cancelled', payload
FROM gone

-- name: end_replays
UPDATE crossdock.replays SET finished_at = now() WHERE subscription_id = $1 AND finished_at IS NULL

-- name: begin_idempotent
-- Waits until another request with the same key has ended; returns nothing if that request was answered.
INSERT INTO crossdock.idempotent (subscriber, name, digest) VALUES ($1, $2, $3)
ON CONFLICT (subscriber, name) DO NOTHING
RETURNING name

-- name: idempotent
SELECT digest, status, sealed FROM crossdock.idempotent WHERE subscriber = $1 AND name = $2

-- name: end_idempotent
UPDATE crossdock.idempotent SET status = $3, sealed = $4 WHERE subscriber = $1 AND name = $2

-- name: answers_sealed_otherwise
-- Stored answers that are encrypted with another key than the one whose values begin with $1.
SELECT subscriber, name, sealed FROM crossdock.idempotent
WHERE sealed IS NOT NULL AND substr(sealed, 1, length($1::bytea)) <> $1 AND (subscriber, name) > ($2, $3)
ORDER BY subscriber, name
LIMIT $4

-- name: any_answers
SELECT EXISTS (SELECT FROM crossdock.idempotent)

-- name: reseal_answer
UPDATE crossdock.idempotent SET sealed = $4 WHERE subscriber = $1 AND name = $2 AND sealed = $3

-- name: count_answers_sealed_otherwise
SELECT count(*) FROM crossdock.idempotent
WHERE sealed IS NOT NULL AND substr(sealed, 1, length($1::bytea)) <> $1

-- name: sealed
SELECT id, sealed FROM crossdock.subscribed WHERE deleted_at IS NULL ORDER BY id

-- name: reseal
-- Does nothing if the row was changed in the meantime, because the change has encrypted it anew.
UPDATE crossdock.subscribed SET sealed = $3 WHERE id = $1 AND sealed = $2

-- name: changed
-- Workers that send for the subscription react at once instead of when they next renew their lease.
SELECT pg_notify('crossdock_subscriptions', '')
