-- name: active_subscriptions
-- Read with every batch that has news: there are few, and a subscription counts from the moment it is there.
SELECT id, subscriber, types, accounts, dialect, now() AS now,
       now() + coalesce(schedule[1], $1) * interval '1 second' AS first
FROM crossdock.subscribed
WHERE enabled AND deleted_at IS NULL

-- name: wake
-- A hint to the workers; they also look for themselves. Without a payload, so that one transaction says it once.
SELECT pg_notify('crossdock_outbox', '')

-- name: supersede
-- A newer version is there: the deliveries of the document that wait for these subscriptions have nothing to say.
WITH gone AS (
    DELETE FROM crossdock.outbox o
    USING unnest($1::uuid[], $2::bigint[]) AS newer (subscription_id, document_id)
    WHERE o.document_id = newer.document_id AND o.subscription_id = newer.subscription_id AND o.payload IS NULL
    RETURNING o.*
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
       type, key, 'superseded', payload
FROM gone

-- name: lease
-- Subscriptions with something due that nobody sends for: ours for a while. $1 worker, $2 seconds, $3 at most so many.
WITH due AS (
    SELECT s.id
    FROM crossdock.subscribed s
    WHERE s.enabled AND s.deleted_at IS NULL AND (s.leased_until IS NULL OR s.leased_until < now())
      AND EXISTS (SELECT FROM crossdock.outbox o WHERE o.subscription_id = s.id AND o.next_attempt_at <= now())
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE crossdock.subscribed s
SET leased_by = $1, leased_until = now() + $2 * interval '1 second'
FROM due
WHERE s.id = due.id
RETURNING s.id, s.subscriber, s.url, s.dialect, s.query_key, s.schedule, s.max_rate, s.max_in_flight, s.sealed

-- name: renew
-- Those of ours that are still ours and still wanted, as they are now.
UPDATE crossdock.subscribed s
SET leased_until = now() + $2 * interval '1 second'
WHERE s.leased_by = $1 AND s.id = ANY ($3::uuid[]) AND s.enabled AND s.deleted_at IS NULL
RETURNING s.id, s.subscriber, s.url, s.dialect, s.query_key, s.schedule, s.max_rate, s.max_in_flight, s.sealed

-- name: release
UPDATE crossdock.subscribed SET leased_by = NULL, leased_until = NULL
WHERE leased_by = $1 AND id = ANY ($2::uuid[])

-- name: due
-- What is due for each subscription, the longest due first, but for what is under way: $1 subscriptions, $2 how many of
-- each, $3 those under way. By index alone up to the rows themselves. Only for those that $4 holds now: while a worker
-- couldn't renew its leases, another may have taken them, and would send the same at the same time.
SELECT d.id, d.subscription_id, d.event_id, d.message_id, d.received_at, d.document_id, d.version, d.type, d.key,
       d.attempts, d.next_attempt_at, d.payload
FROM unnest($1::uuid[], $2::int[]) AS s (id, room)
JOIN crossdock.subscribed mine ON mine.id = s.id AND mine.leased_by = $4 AND mine.leased_until > now()
CROSS JOIN LATERAL (
    SELECT *
    FROM crossdock.outbox o
    WHERE o.subscription_id = s.id AND o.next_attempt_at <= now() AND o.id <> ALL ($3::uuid[])
    ORDER BY o.next_attempt_at, o.id
    LIMIT s.room
) d

-- name: bodies
-- The events' bodies as received: $1, $2 the receipts. One that retention has taken is not returned.
SELECT r.message_id, d.platform, d.account, r.event, r.received_at, r.content_type, r.traceparent, r.flags, r.raw
FROM unnest($1::timestamptz[], $2::uuid[]) AS m (received_at, message_id)
JOIN crossdock.receipts r ON r.received_at = m.received_at AND r.message_id = m.message_id
JOIN crossdock.documents d ON d.id = r.document_id

-- name: newest_bodies
-- The newest copy of each document.
SELECT d.id AS document_id, d.platform, d.account, r.event, r.received_at, r.content_type, r.traceparent, r.flags, r.raw,
       v.version
FROM crossdock.documents d
JOIN crossdock.versions v ON v.id = d.version_id AND v.received_at = d.received_at
JOIN crossdock.receipts r ON r.received_at = v.received_at AND r.message_id = v.message_id
WHERE d.id = ANY ($1::bigint[])

-- name: attempted
-- What came of attempts. One that was superseded or cancelled meanwhile stays so; the attempt is kept all the same.
WITH result AS (
    SELECT *
    FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::int[], $6::float8[], $7::bytea[], $8::text[],
                $9::text[], $10::float8[])
         AS r (id, attempt, at, outcome, status_code, duration_ms, response, error, status, next_seconds)
), kept AS (
    INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, error, response)
    SELECT id, at, attempt, status_code, duration_ms, outcome, error, response FROM result
    ON CONFLICT DO NOTHING
), waiting AS (
    UPDATE crossdock.outbox o
    SET attempts = result.attempt, next_attempt_at = now() + result.next_seconds * interval '1 second'
    FROM result
    WHERE o.id = result.id AND result.status = 'pending'
), gone AS (
    DELETE FROM crossdock.outbox o
    USING result
    WHERE o.id = result.id AND result.status <> 'pending'
    RETURNING o.*, result.attempt, result.status
)
INSERT INTO crossdock.finished (
    id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempts,
    type, key, status, payload
)
SELECT id, subscription_id, created_at, received_at, event_id, message_id, replay_id, document_id, version, attempt,
       type, key, status, payload
FROM gone

-- name: disable
-- Nothing more is sent or decided for it; what waits stays, for the day that it is enabled again.
UPDATE crossdock.subscribed SET enabled = false, disabled_reason = $2, updated_at = now()
WHERE id = $1 AND enabled
RETURNING id

-- name: waiting
-- How much is due, and for how long: of this worker's subscriptions ($1) and of those that are nobody's, but for those
-- that it leaves alone ($2) or that asked for a rate: more workers would not help them. $3 counted of each at most.
SELECT coalesce(sum(d.due), 0)::bigint AS due,
       coalesce(extract(epoch FROM now() - min(d.oldest)), 0)::float8 AS oldest
FROM crossdock.subscribed s
CROSS JOIN LATERAL (
    SELECT count(*) AS due, min(one.next_attempt_at) AS oldest
    FROM (
        SELECT o.next_attempt_at
        FROM crossdock.outbox o
        WHERE o.subscription_id = s.id AND o.next_attempt_at <= now()
        ORDER BY o.next_attempt_at
        LIMIT $3
    ) one
) d
WHERE s.enabled AND s.deleted_at IS NULL AND s.max_rate IS NULL AND s.id <> ALL ($2::uuid[])
  AND (s.leased_by = $1 OR s.leased_until IS NULL OR s.leased_until < now())
